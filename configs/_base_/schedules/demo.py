train_cfg = dict(type='EpochBasedTrainLoop', max_epochs=7, val_interval=3)
val_cfg = dict(type='ValLoop')
test_cfg = dict(type='TestLoop')
param_scheduler = [
    dict(type='LinearLR', start_factor=0.01, by_epoch=False, begin=0, end=100),
    dict(
        type='CosineAnnealingLR', by_epoch=True, begin=0, end=7, T_max=7, eta_min_ratio=0.01, convert_to_iter_based=True
    ),
]
optim_wrapper = dict(
    type='OptimWrapper',
    # four epochs ended at box AP50 0.54 with these, and at 0.41 with half the rate and the usual 0.999
    optimizer=dict(type='AdamW', lr=8e-4, betas=(0.9, 0.95), weight_decay=0.05, fused=True),
    clip_grad=dict(max_norm=10.0),
)
