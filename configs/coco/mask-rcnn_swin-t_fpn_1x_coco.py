_base_ = [
    '../_base_/models/mask-rcnn_saga-pvt-t_fpn.py',
    '../_base_/datasets/coco_instance_multiscale.py',
    '../_base_/schedules/adamw_1x.py',
    '../_base_/default_runtime.py',
]

model = dict(
    backbone=dict(
        _delete_=True,
        type='saga_mm.Swin',
        arch='tiny',
        attention=dict(type='softmax', borders='mmdet'),
        drop_path_rate=0.1,
    ),
    neck=dict(in_channels=[96, 192, 384, 768]),
)
optim_wrapper = dict(
    optimizer=dict(lr=1e-4, weight_decay=0.05),
    paramwise_cfg=dict(norm_decay_mult=0.0, custom_keys={'relative_position_bias_table': dict(decay_mult=0.0)}),
)
