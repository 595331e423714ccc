_base_ = 'semantic-fpn_saga-pvt-t_80k_ade20k-512x512.py'

model = dict(
    backbone=dict(
        _delete_=True,
        type='saga_mm.Swin',
        arch='tiny',
        attention=dict(type='softmax', borders='mmdet'),
        drop_path_rate=0.2,
    ),
    neck=dict(in_channels=[96, 192, 384, 768]),
)
