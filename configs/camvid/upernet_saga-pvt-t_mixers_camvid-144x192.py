"""To compare attentions at equal steps, from random weights: --cfg-options model.backbone.attention=rala and so on."""

_base_ = 'upernet_saga-pvt-t_scratch-1_camvid-144x192.py'

train_cfg = dict(max_iters=700, val_interval=350)
param_scheduler = [
    dict(type='LinearLR', start_factor=0.01, by_epoch=False, begin=0, end=100),
    dict(type='PolyLR', eta_min=0.0, power=0.9, by_epoch=False, begin=100, end=700),
]
default_hooks = dict(checkpoint=dict(interval=350))
