_base_ = 'upernet_swin-t_80k_cityscapes-512x1024.py'

model = dict(backbone=dict(attention=['focused', 'focused', 'softmax', 'softmax']))
