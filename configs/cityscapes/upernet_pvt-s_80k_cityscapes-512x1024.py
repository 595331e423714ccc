_base_ = 'upernet_saga-pvt-s_80k_cityscapes-512x1024.py'

model = dict(backbone=dict(attention='softmax'))
