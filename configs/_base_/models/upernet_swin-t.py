_base_ = 'upernet_saga-pvt-t.py'

model = dict(
    backbone=dict(
        _delete_=True,
        type='saga_mm.Swin',
        arch='tiny',
        attention=dict(type='softmax', borders='mmdet'),
        drop_path_rate=0.3,
    ),
    decode_head=dict(in_channels=[96, 192, 384, 768]),
    auxiliary_head=dict(in_channels=384),
)
