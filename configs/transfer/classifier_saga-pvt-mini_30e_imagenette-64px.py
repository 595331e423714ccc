"""The backbone of the two configs beside it, pretrained on 10 classes in about an hour of one CPU core."""

_base_ = [
    '../_base_/models/imagenet_classifier.py',
    '../_base_/datasets/imagenet_224.py',
    '../_base_/schedules/imagenet_300e.py',
    '../_base_/classification_runtime.py',
]

model = dict(
    backbone=dict(
        type='saga_mm.PVT',
        arch=dict(
            embed_dims=(32, 64, 96, 128),
            depths=(1, 2, 2, 1),
            num_heads=(2, 4, 6, 8),
            mlp_ratios=(3, 3, 3, 3),
            sr_ratios=(1, 1, 1, 1),
        ),
        attention='saga',
        drop_path_rate=0.05,
        out_indices=(3,),
        pretrain_img_size=64,
    ),
    head=dict(num_classes=10, in_channels=128, norm_eps=1e-6),
    train_cfg=dict(_delete_=True),
)
train_pipeline = [
    dict(type='LoadImageFromFile'),
    dict(type='saga_mm.RandomResizedCrop', scale=64, crop_ratio_range=(0.35, 1.0), backend='cv2', interpolation='area'),
    dict(type='RandomFlip', prob=0.5),
    dict(type='saga_mm.PackClassInputs'),
]
test_pipeline = [
    dict(type='LoadImageFromFile'),
    dict(type='Resize', scale=(64, 64), backend='cv2', interpolation='area'),
    dict(type='saga_mm.PackClassInputs'),
]
loader = dict(batch_size=64, num_workers=1)
train_dataloader = dict(**loader, dataset=dict(data_root='data/imagenette/train', pipeline=train_pipeline))
val_dataloader = dict(**loader, dataset=dict(data_root='data/imagenette/val', pipeline=test_pipeline))
test_dataloader = dict(**loader, dataset=dict(data_root='data/imagenette/val', pipeline=test_pipeline))
optim_wrapper = dict(clip_grad=dict(max_norm=5.0))
param_scheduler = [
    dict(type='LinearLR', start_factor=0.01, by_epoch=True, begin=0, end=2, convert_to_iter_based=True),
    dict(
        type='CosineAnnealingLR',
        eta_min_ratio=0.01,
        by_epoch=True,
        begin=2,
        end=30,
        T_max=28,
        convert_to_iter_based=True,
    ),
]
train_cfg = dict(max_epochs=30, val_interval=5)
default_hooks = dict(checkpoint=dict(interval=5))
auto_scale_lr = dict(base_batch_size=64)
