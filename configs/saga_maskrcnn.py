"""Mask R-CNN with a SAGA backbone on demo data that is made at first use: from scratch, on a CPU, in minutes."""

_base_ = [
    '_base_/models/mask-rcnn_saga-pvt-t_fpn.py',
    '_base_/datasets/demo_shapes.py',
    '_base_/schedules/demo.py',
    '_base_/default_runtime.py',
]

# from scratch, every part that is trained needs its norm
norm_cfg = dict(type='GN', num_groups=16)
model = dict(
    backbone=dict(drop_path_rate=0.0, pretrain_img_size=256),
    neck=dict(out_channels=64, norm_cfg=norm_cfg),
    rpn_head=dict(in_channels=64, feat_channels=64),
    roi_head=dict(
        bbox_roi_extractor=dict(out_channels=64, roi_layer=dict(sampling_ratio=2)),
        bbox_head=dict(
            type='ConvFCBBoxHead',
            num_shared_convs=2,
            num_shared_fcs=1,
            in_channels=64,
            conv_out_channels=64,
            fc_out_channels=256,
            reg_class_agnostic=True,
            num_classes=5,
            norm_cfg=norm_cfg,
        ),
        mask_roi_extractor=dict(out_channels=64, roi_layer=dict(sampling_ratio=2)),
        mask_head=dict(
            num_convs=2, in_channels=64, conv_out_channels=64, num_classes=5, class_agnostic=True, norm_cfg=norm_cfg
        ),
    ),
    train_cfg=dict(
        rpn_proposal=dict(nms_pre=500, max_per_img=200),
        rcnn=dict(sampler=dict(num=64, pos_fraction=0.5)),
    ),
    test_cfg=dict(rpn=dict(nms_pre=500, max_per_img=100), rcnn=dict(max_per_img=30)),
)
