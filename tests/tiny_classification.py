"""A classifier so small that a training takes seconds, at 32 pixels; a test names its pictures."""

_base_ = ['../configs/imagenet/saga-pvt-tiny_8xb128_in1k.py']

model = dict(
    backbone=dict(
        arch=dict(
            _delete_=True,
            embed_dims=(8, 16, 16, 16),
            depths=(1, 1, 1, 1),
            num_heads=(1, 1, 1, 1),
            mlp_ratios=(2, 2, 2, 2),
            sr_ratios=(8, 4, 2, 1),
        ),
        pretrain_img_size=32,
    ),
    head=dict(in_channels=16),
)
train_pipeline = [
    dict(type='LoadImageFromFile'),
    dict(type='saga_mm.RandomResizedCrop', scale=32),
    dict(type='RandomFlip', prob=0.5),
    dict(type='saga_mm.RandAugment'),
    dict(type='saga_mm.RandomErasing'),
    dict(type='saga_mm.PackClassInputs'),
]
test_pipeline = [
    dict(type='LoadImageFromFile'),
    dict(type='saga_mm.ResizeEdge', scale=36),
    dict(type='CenterCrop', crop_size=32),
    dict(type='saga_mm.PackClassInputs'),
]
loader = dict(batch_size=2, num_workers=0, persistent_workers=False)
train_dataloader = dict(**loader, dataset=dict(pipeline=train_pipeline))
val_dataloader = dict(**loader, dataset=dict(pipeline=test_pipeline))
test_dataloader = val_dataloader
train_cfg = dict(max_epochs=1)
