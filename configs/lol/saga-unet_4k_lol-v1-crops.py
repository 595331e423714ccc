"""The weights that ship with the package: crops of LOL-v1, 192 pixels a side, on two CPU cores; scenes held out."""

_base_ = 'saga-unet_150k_lol-v1.py'

data = dict(data_root='data/lol_v1_crops', layout=None, scene_groups='scene_groups.json', hold_out=24)
train_dataloader = dict(num_workers=0, persistent_workers=False, dataset=data)
val_dataloader = dict(num_workers=0, persistent_workers=False, dataset=data)
test_dataloader = dict(num_workers=0, persistent_workers=False, dataset=dict(split='val', **data))
train_cfg = dict(max_iters=4200, val_interval=700)
param_scheduler = [
    dict(type='LinearLR', start_factor=0.01, by_epoch=False, begin=0, end=200),
    dict(type='CosineAnnealingLR', by_epoch=False, begin=200, end=4200, T_max=4000, eta_min_ratio=0.005),
]
optim_wrapper = dict(optimizer=dict(lr=1e-3, fused=True))
default_hooks = dict(checkpoint=dict(interval=350))
custom_hooks = [
    dict(type='EMAHook', ema_type='MomentumAnnealingEMA', momentum=0.001, gamma=100),
    dict(type='saga_mm.ProgressiveCropHook', sizes=[96, 128], starts=[0.0, 0.75]),
]
