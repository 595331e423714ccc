"""A SAGAUNet so small that a training takes seconds, on demo data made in the folder that a test runs in."""

_base_ = ['../configs/saga_lowlight.py']

model = dict(
    backbone=dict(
        arch=dict(_delete_=True, embed_dims=(8, 8, 16), depths=(1, 1, 1), num_heads=(0, 1, 1), mlp_ratio=1),
    )
)
demo_data = dict(root='data/tiny', num_train=6, num_val=3, size=64)
train_dataloader = dict(
    batch_size=2,
    dataset=dict(
        data_root='data/tiny',
        pipeline=[
            dict(type='saga_mm.LoadPair'),
            dict(type='saga_mm.PairRandomCrop', crop_size=32),
            dict(type='saga_mm.SynthesizeLowLight'),
            dict(type='saga_mm.PackLowLightInputs'),
        ],
    ),
)
val_dataloader = dict(dataset=dict(data_root='data/tiny'))
test_dataloader = val_dataloader
train_cfg = dict(max_iters=4, val_interval=2)
param_scheduler = [dict(type='LinearLR', start_factor=0.1, by_epoch=False, begin=0, end=100)]
default_hooks = dict(logger=dict(interval=1), checkpoint=dict(interval=2))
