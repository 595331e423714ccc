"""Mask R-CNN with a small SAGA backbone at 320 pixels, for some dozens of photographs of one's own and a CPU."""

_base_ = [
    '_base_/models/mask-rcnn_saga-pvt-t_fpn.py',
    '_base_/datasets/own_photos.py',
    '_base_/schedules/own_photos.py',
    '_base_/iters_runtime.py',
]

# without pretrained weights every part needs its norm; one that counts no batch, since batches are small
norm_cfg = dict(type='GN', num_groups=16)
model = dict(
    # convolutions in its embeddings and feed-forwards learn from few pictures
    backbone=dict(type='saga_mm.PVTv2', arch='b0', drop_path_rate=0.0),
    neck=dict(in_channels=[32, 64, 160, 256], out_channels=64, norm_cfg=norm_cfg),
    # objects are half as large as at 640 pixels, and so are anchors and the objects of each level
    rpn_head=dict(in_channels=64, feat_channels=64, anchor_generator=dict(scales=[4])),
    roi_head=dict(
        bbox_roi_extractor=dict(out_channels=64, finest_scale=28, roi_layer=dict(sampling_ratio=2)),
        bbox_head=dict(
            type='ConvFCBBoxHead',
            num_shared_convs=2,
            num_shared_fcs=1,
            in_channels=64,
            conv_out_channels=64,
            fc_out_channels=256,
            reg_class_agnostic=True,
            norm_cfg=norm_cfg,
        ),
        mask_roi_extractor=dict(out_channels=64, finest_scale=28, roi_layer=dict(sampling_ratio=2)),
        mask_head=dict(num_convs=2, in_channels=64, conv_out_channels=64, class_agnostic=True, norm_cfg=norm_cfg),
    ),
    train_cfg=dict(rpn_proposal=dict(nms_pre=500, max_per_img=200), rcnn=dict(sampler=dict(num=64, pos_fraction=0.5))),
    test_cfg=dict(rpn=dict(nms_pre=500, max_per_img=200)),
)
