"""Attentions in one trunk at equal steps: ``--cfg-options model.backbone.attention=softmax``, scenes held out."""

_base_ = 'saga-unet_4k_lol-v1-crops.py'

train_cfg = dict(max_iters=1500, val_interval=500)
param_scheduler = [
    dict(type='LinearLR', start_factor=0.01, by_epoch=False, begin=0, end=100),
    dict(type='CosineAnnealingLR', by_epoch=False, begin=100, end=1500, T_max=1400, eta_min=0.0),
]
default_hooks = dict(checkpoint=dict(interval=500))
# averaged weights would lag behind in so few steps
custom_hooks = [dict(type='saga_mm.ProgressiveCropHook', sizes=[96], starts=[0.0])]
