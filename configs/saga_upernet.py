"""UPerNet with a SAGA backbone on demo data that is made at first use: from scratch, on a CPU, in minutes."""

_base_ = [
    '_base_/models/upernet_saga-pvt-t.py',
    '_base_/datasets/demo_shapes_semantic.py',
    '_base_/schedules/demo_segmentation.py',
    '_base_/segmentation_runtime.py',
]

model = dict(
    data_preprocessor=dict(size=(128, 128)),
    backbone=dict(drop_path_rate=0.0, pretrain_img_size=256),
    neck=dict(type='saga_mm.SAGAPyramid', in_channels=[64, 128, 320, 512]),
    # a batch of four is too small for batch norm
    decode_head=dict(
        channels=64, dropout_ratio=0.0, num_classes=6, norm_cfg=dict(_delete_=True, type='GN', num_groups=16)
    ),
    auxiliary_head=None,
)
