"""From the weights of the first part, which trained at half the size."""

_base_ = [
    'upernet_saga-pvt-t_4k_camvid-288x384.py',
]

load_from = 'work_dirs/upernet_saga-pvt-t_scratch-1_camvid-144x192/iter_1800.pth'
train_dataloader = dict(batch_size=4)
class_weight = [0.52, 0.44, 2.14, 0.38, 1.0, 0.68, 1.96, 2.0, 0.87, 2.65, 3.92]
model = dict(
    decode_head=dict(loss_decode=dict(class_weight=class_weight)),
    auxiliary_head=dict(loss_decode=dict(class_weight=class_weight)),
)
optim_wrapper = dict(optimizer=dict(lr=4e-4, betas=(0.9, 0.95)))
train_cfg = dict(max_iters=300, val_interval=100)
param_scheduler = [
    dict(type='LinearLR', start_factor=0.1, by_epoch=False, begin=0, end=30),
    dict(type='PolyLR', eta_min=0.0, power=0.9, by_epoch=False, begin=30, end=300),
]
default_hooks = dict(checkpoint=dict(interval=100))
