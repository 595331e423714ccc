_base_ = 'mask-rcnn_saga-pvt-t_fpn.py'

bbox_head = dict(
    type='ConvFCBBoxHead',
    num_shared_convs=4,
    num_shared_fcs=1,
    in_channels=256,
    conv_out_channels=256,
    fc_out_channels=1024,
    roi_feat_size=7,
    num_classes=80,
    reg_class_agnostic=False,
    reg_decoded_bbox=True,
    norm_cfg=dict(type='SyncBN', requires_grad=True),
    loss_cls=dict(type='CrossEntropyLoss', use_sigmoid=False, loss_weight=1.0),
    loss_bbox=dict(type='GIoULoss', loss_weight=10.0),
)
coder = dict(type='DeltaXYWHBBoxCoder', target_means=[0.0] * 4)
assigner = dict(type='MaxIoUAssigner', match_low_quality=False)
rcnn = dict(
    sampler=dict(type='RandomSampler', num=512, pos_fraction=0.25, neg_pos_ub=-1, add_gt_as_proposals=True),
    mask_size=28,
    pos_weight=-1,
    debug=False,
)
model = dict(
    type='CascadeRCNN',
    backbone=dict(
        _delete_=True,
        type='saga_mm.Swin',
        arch='tiny',
        attention=['saga', 'saga', 'softmax', 'softmax'],
        drop_path_rate=0.2,
    ),
    neck=dict(in_channels=[96, 192, 384, 768]),
    roi_head=dict(
        type='CascadeRoIHead',
        num_stages=3,
        stage_loss_weights=[1, 0.5, 0.25],
        bbox_head=[
            dict(bbox_head, bbox_coder=dict(coder, target_stds=[0.1, 0.1, 0.2, 0.2])),
            dict(bbox_head, bbox_coder=dict(coder, target_stds=[0.05, 0.05, 0.1, 0.1])),
            dict(bbox_head, bbox_coder=dict(coder, target_stds=[0.033, 0.033, 0.067, 0.067])),
        ],
    ),
    train_cfg=dict(
        rpn_proposal=dict(max_per_img=2000),
        rcnn=[
            dict(rcnn, assigner=dict(assigner, pos_iou_thr=0.5, neg_iou_thr=0.5, min_pos_iou=0.5)),
            dict(rcnn, assigner=dict(assigner, pos_iou_thr=0.6, neg_iou_thr=0.6, min_pos_iou=0.6)),
            dict(rcnn, assigner=dict(assigner, pos_iou_thr=0.7, neg_iou_thr=0.7, min_pos_iou=0.7)),
        ],
    ),
)
