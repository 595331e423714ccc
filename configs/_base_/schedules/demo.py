train_cfg = dict(type='EpochBasedTrainLoop', max_epochs=9, val_interval=3)
val_cfg = dict(type='ValLoop')
test_cfg = dict(type='TestLoop')
param_scheduler = [
    dict(type='LinearLR', start_factor=0.01, by_epoch=False, begin=0, end=100),
    dict(
        type='CosineAnnealingLR', by_epoch=True, begin=0, end=9, T_max=9, eta_min_ratio=0.01, convert_to_iter_based=True
    ),
]
optim_wrapper = dict(
    type='OptimWrapper',
    optimizer=dict(type='AdamW', lr=4e-4, weight_decay=0.05, fused=True),
    clip_grad=dict(max_norm=10.0),
)
