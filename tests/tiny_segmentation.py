"""A UPerNet so small that a training takes seconds, on demo data made in the folder that a test runs in."""

_base_ = ['../configs/saga_upernet.py']

model = dict(
    data_preprocessor=dict(size=(64, 64)),
    backbone=dict(
        arch=dict(
            _delete_=True,
            embed_dims=(8, 16, 16, 16),
            depths=(1, 1, 1, 1),
            num_heads=(1, 1, 1, 1),
            mlp_ratios=(2, 2, 2, 2),
            sr_ratios=(8, 4, 2, 1),
        )
    ),
    neck=dict(in_channels=[8, 16, 16, 16]),
    decode_head=dict(in_channels=[8, 16, 16, 16], channels=16, norm_cfg=dict(num_groups=4)),
    auxiliary_head=dict(
        _delete_=True, type='FCNHead', in_channels=16, channels=16, in_index=2, num_convs=1, num_classes=6
    ),
)

demo_data = dict(root='data/tiny', num_train=6, num_val=3, size=96)
train_dataloader = dict(
    batch_size=2,
    dataset=dict(
        data_root='data/tiny/',
        pipeline=[
            dict(type='LoadImageFromFile'),
            dict(type='LoadAnnotations'),
            dict(type='RandomCrop', crop_size=(64, 64)),
            dict(type='PackSegInputs'),
        ],
    ),
)
val_dataloader = dict(dataset=dict(data_root='data/tiny/'))
test_dataloader = val_dataloader
train_cfg = dict(max_epochs=2, val_interval=1)
param_scheduler = [dict(type='LinearLR', start_factor=0.1, by_epoch=False, begin=0, end=100)]
