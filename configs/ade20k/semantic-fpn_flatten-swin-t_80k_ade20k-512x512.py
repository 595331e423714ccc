_base_ = 'semantic-fpn_swin-t_80k_ade20k-512x512.py'

model = dict(backbone=dict(attention=['focused', 'focused', 'softmax', 'softmax']))
