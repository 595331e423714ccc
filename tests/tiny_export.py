"""A segmentor of one stage, exported in seconds: pyramid pooling, padding to a divisor, pictures that are resized."""

default_scope = 'mmseg'
model = dict(
    type='EncoderDecoder',
    data_preprocessor=dict(
        type='SegDataPreProcessor',
        mean=[123.675, 116.28, 103.53],
        std=[58.395, 57.12, 57.375],
        bgr_to_rgb=True,
        size=(64, 64),
        test_cfg=dict(size_divisor=16),
    ),
    backbone=dict(
        type='saga_mm.PVT',
        arch=dict(embed_dims=(8,), depths=(1,), num_heads=(1,), mlp_ratios=(2,), sr_ratios=(4,)),
        attention='linear',
        pretrain_img_size=96,
        out_indices=(0,),
    ),
    decode_head=dict(
        type='PSPHead',
        in_channels=8,
        in_index=0,
        channels=8,
        pool_scales=(1, 2),
        dropout_ratio=0.0,
        num_classes=4,
        norm_cfg=dict(type='SyncBN'),
        align_corners=False,
    ),
    test_cfg=dict(mode='whole'),
)
test_dataloader = dict(
    batch_size=1,
    num_workers=0,
    dataset=dict(
        type='BaseSegDataset',
        metainfo=dict(classes=('sky', 'tree', 'road', 'car'), palette=[[9, 9, 9], [1, 2, 3], [4, 5, 6], [255, 0, 0]]),
        pipeline=[
            dict(type='LoadImageFromFile'),
            dict(type='Resize', scale=(96, 48), keep_ratio=True),
            dict(type='LoadAnnotations'),
            dict(type='PackSegInputs'),
        ],
    ),
)
