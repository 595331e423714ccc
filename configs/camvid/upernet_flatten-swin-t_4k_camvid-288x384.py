_base_ = 'upernet_swin-t_4k_camvid-288x384.py'

model = dict(backbone=dict(attention=['focused', 'focused', 'softmax', 'softmax']))
