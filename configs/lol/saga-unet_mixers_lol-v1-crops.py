"""Token mixers in one trunk at equal steps: ``--cfg-options model.backbone.attention=softmax``, scenes held out."""

_base_ = 'saga-unet_4k_lol-v1-crops.py'

train_cfg = dict(max_iters=500, val_interval=250)
param_scheduler = [
    dict(type='LinearLR', start_factor=0.01, by_epoch=False, begin=0, end=50),
    dict(type='CosineAnnealingLR', by_epoch=False, begin=50, end=500, T_max=450, eta_min=0.0),
]
default_hooks = dict(checkpoint=dict(interval=250))
# averaged weights would lag behind in so few steps
custom_hooks = [dict(type='saga_mm.ProgressiveCropHook', sizes=[96], starts=[0.0])]
