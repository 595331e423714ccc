"""The last part: from the weights of the first down to a learning rate of zero, at the same size."""

_base_ = 'upernet_saga-pvt-t_scratch-1_camvid-144x192.py'

load_from = 'work_dirs/upernet_saga-pvt-t_scratch-1_camvid-144x192/iter_1800.pth'
optim_wrapper = dict(optimizer=dict(lr=2e-4))
train_cfg = dict(max_iters=300, val_interval=100)
param_scheduler = [
    dict(type='LinearLR', start_factor=0.1, by_epoch=False, begin=0, end=20),
    dict(type='PolyLR', eta_min=0.0, power=1.0, by_epoch=False, begin=20, end=300),
]
default_hooks = dict(checkpoint=dict(interval=100))
