"""The tiny weights that ship with the package, for video: pairs and darkened photographs, from scratch."""

_base_ = 'saga-unet_3k_lol-v1-crops-and-photos.py'

load_from = None
model = dict(backbone=dict(arch='tiny'))
optim_wrapper = dict(optimizer=dict(lr=1e-3))
train_cfg = dict(max_iters=6000, val_interval=1000)
param_scheduler = [
    dict(type='LinearLR', start_factor=0.01, by_epoch=False, begin=0, end=200),
    dict(type='CosineAnnealingLR', by_epoch=False, begin=200, end=6000, T_max=5800, eta_min_ratio=0.005),
]
default_hooks = dict(checkpoint=dict(interval=1000))
