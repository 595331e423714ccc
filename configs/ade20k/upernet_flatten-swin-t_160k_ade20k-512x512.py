_base_ = 'upernet_swin-t_160k_ade20k-512x512.py'

model = dict(backbone=dict(attention=['focused', 'focused', 'softmax', 'softmax']))
