"""Mask R-CNN with a SAGA backbone at 512 pixels for photographs of one's own: from scratch, or from weights."""

_base_ = [
    '_base_/models/mask-rcnn_saga-pvt-t_fpn.py',
    '_base_/datasets/own_photos.py',
    '_base_/schedules/own_photos.py',
    '_base_/iters_runtime.py',
]

# without pretrained weights every part needs its norm; one that counts no batch, since batches are small
norm_cfg = dict(type='GN', num_groups=16)
model = dict(
    backbone=dict(drop_path_rate=0.05),
    neck=dict(out_channels=128, norm_cfg=norm_cfg),
    rpn_head=dict(in_channels=128, feat_channels=128),
    roi_head=dict(
        bbox_roi_extractor=dict(out_channels=128, roi_layer=dict(sampling_ratio=2)),
        bbox_head=dict(
            type='ConvFCBBoxHead',
            num_shared_convs=2,
            num_shared_fcs=1,
            in_channels=128,
            conv_out_channels=128,
            fc_out_channels=512,
            reg_class_agnostic=True,
            norm_cfg=norm_cfg,
        ),
        mask_roi_extractor=dict(out_channels=128, roi_layer=dict(sampling_ratio=2)),
        mask_head=dict(
            num_convs=3, in_channels=128, conv_out_channels=128, class_agnostic=True, norm_cfg=norm_cfg
        ),
    ),
    train_cfg=dict(rpn_proposal=dict(nms_pre=1000, max_per_img=500), rcnn=dict(sampler=dict(num=128))),
    test_cfg=dict(rpn=dict(nms_pre=1000, max_per_img=300)),
)
