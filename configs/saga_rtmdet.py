"""A one-stage detector with a narrow SAGA backbone at 512 pixels, for dozens of photographs: from scratch, on a CPU."""

_base_ = [
    '_base_/datasets/coco_detection.py',
    '_base_/schedules/own_photos.py',
    '_base_/iters_runtime.py',
]

# a batch norm takes the mean from each channel. Norms of groups leave it: at a rate of 1e-3 the maps were the same for
# every picture after 300 iterations
norm_cfg = dict(type='BN')
model = dict(
    type='RTMDet',
    data_preprocessor=dict(
        type='DetDataPreprocessor',
        mean=[123.675, 116.28, 103.53],
        std=[58.395, 57.12, 57.375],
        bgr_to_rgb=True,
        pad_size_divisor=32,
    ),
    # narrow at stride 4, where most of the operations are: photographs seen a second count more than parameters
    backbone=dict(
        type='saga_mm.PVTv2',
        arch=dict(
            embed_dims=(16, 48, 96, 128),
            depths=(1, 1, 2, 1),
            num_heads=(1, 2, 3, 4),
            mlp_ratios=(2, 2, 2, 2),
            sr_ratios=(8, 4, 2, 1),
        ),
        attention='saga',
        drop_path_rate=0.0,
    ),
    neck=dict(type='FPN', in_channels=[16, 48, 96, 128], out_channels=48, start_level=1, num_outs=3, norm_cfg=norm_cfg),
    # every place of the maps is told what to answer; of two stages the second sees next to nothing at first
    bbox_head=dict(
        type='RTMDetSepBNHead',
        num_classes=80,
        in_channels=48,
        feat_channels=48,
        stacked_convs=2,
        with_objectness=False,
        # boxes of two strides at first: of boxes without an area no answer is worth learning
        exp_on_reg=True,
        norm_cfg=norm_cfg,
        act_cfg=dict(type='SiLU'),
        anchor_generator=dict(type='MlvlPointGenerator', offset=0, strides=[8, 16, 32]),
        bbox_coder=dict(type='DistancePointBBoxCoder'),
        loss_cls=dict(type='QualityFocalLoss', use_sigmoid=True, beta=2.0, loss_weight=1.0),
        loss_bbox=dict(type='GIoULoss', loss_weight=2.0),
    ),
    train_cfg=dict(
        assigner=dict(type='DynamicSoftLabelAssigner', topk=13), allowed_border=-1, pos_weight=-1, debug=False
    ),
    test_cfg=dict(
        nms_pre=1000, min_bbox_size=0, score_thr=0.01, nms=dict(type='nms', iou_threshold=0.6), max_per_img=100
    ),
)
# it learns on parts of 256 pixels, which costs a quarter, and finds in whole photographs of 512
train_pipeline = [
    dict(type='LoadImageFromFile'),
    dict(type='LoadAnnotations', with_bbox=True),
    dict(type='RandomResize', scale=(512, 512), ratio_range=(0.5, 1.4), keep_ratio=True),
    dict(type='RandomCrop', crop_size=(256, 256), allow_negative_crop=True),
    # what a crop leaves of an object beyond its edge may be a line
    dict(type='FilterAnnotations', min_gt_bbox_wh=(4, 4), keep_empty=False),
    dict(type='PhotoMetricDistortion'),
    dict(type='RandomFlip', prob=0.5),
    dict(type='PackDetInputs'),
]
test_pipeline = [
    dict(type='LoadImageFromFile'),
    dict(type='Resize', scale=(512, 512), keep_ratio=True),
    dict(type='LoadAnnotations', with_bbox=True),
    dict(
        type='PackDetInputs',
        meta_keys=('img_id', 'img_path', 'ori_shape', 'img_shape', 'scale_factor'),
    ),
]
# batches of one size, across the ends of epochs: the last one of some dozens of photographs may be a single one
train_dataloader = dict(
    batch_size=8,
    sampler=dict(type='InfiniteSampler', shuffle=True),
    batch_sampler=None,
    dataset=dict(pipeline=train_pipeline),
)
val_dataloader = dict(dataset=dict(pipeline=test_pipeline))
test_dataloader = val_dataloader
val_evaluator = dict(metric='bbox')
test_evaluator = val_evaluator
param_scheduler = [
    dict(type='LinearLR', start_factor=0.01, by_epoch=False, begin=0, end=100),
    dict(type='CosineAnnealingLR', by_epoch=False, begin=100, end=3000, T_max=2900, eta_min_ratio=0.01),
]
optim_wrapper = dict(optimizer=dict(lr=1e-3, betas=(0.9, 0.999)))
auto_scale_lr = dict(base_batch_size=8)
custom_hooks = [dict(type='EMAHook', ema_type='ExpMomentumEMA', momentum=0.002, gamma=500)]
