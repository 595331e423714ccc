"""A one-stage detector of two levels, exported in seconds."""

default_scope = 'mmdet'
model = dict(
    type='RetinaNet',
    data_preprocessor=dict(
        type='DetDataPreprocessor', mean=[123.675, 116.28, 103.53], std=[58.395, 57.12, 57.375], pad_size_divisor=16
    ),
    backbone=dict(
        type='saga_mm.PVT',
        arch=dict(embed_dims=(8,), depths=(1,), num_heads=(1,), mlp_ratios=(2,), sr_ratios=(4,)),
        attention='linear',
        pretrain_img_size=96,
        out_indices=(0,),
    ),
    neck=dict(type='FPN', in_channels=[8], out_channels=8, num_outs=2),
    bbox_head=dict(
        type='RetinaHead',
        num_classes=3,
        in_channels=8,
        feat_channels=8,
        stacked_convs=1,
        anchor_generator=dict(type='AnchorGenerator', scales=[4], ratios=[0.5, 1.0], strides=[4, 8]),
    ),
    test_cfg=dict(nms_pre=100, score_thr=0.05, nms=dict(type='nms', iou_threshold=0.5), max_per_img=10),
)
test_dataloader = dict(
    batch_size=1,
    num_workers=0,
    dataset=dict(
        type='CocoDataset',
        metainfo=dict(classes=('disc', 'square', 'star')),
        pipeline=[
            dict(type='LoadImageFromFile'),
            dict(type='Resize', scale=(133, 80), keep_ratio=True),
            dict(type='PackDetInputs'),
        ],
    ),
)
