_base_ = 'upernet_saga-pvt-t_4k_camvid-288x384.py'

model = dict(
    backbone=dict(
        _delete_=True,
        type='saga_mm.Swin',
        arch='tiny',
        attention=dict(type='softmax', borders='mmdet'),
        drop_path_rate=0.1,
    ),
    decode_head=dict(in_channels=[96, 192, 384, 768]),
    auxiliary_head=dict(in_channels=384),
)
