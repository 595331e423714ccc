_base_ = 'default_runtime.py'

default_scope = 'saga_mm'
default_hooks = dict(
    _delete_=True,
    timer=dict(type='IterTimerHook'),
    logger=dict(type='LoggerHook', interval=50, log_metric_by_epoch=False),
    param_scheduler=dict(type='ParamSchedulerHook'),
    checkpoint=dict(
        type='CheckpointHook', by_epoch=False, interval=350, max_keep_ckpts=3, save_best='PSNR', rule='greater'
    ),
    sampler_seed=dict(type='DistSamplerSeedHook'),
)
# validated, saved and tested are averaged weights: over the newest hundredth of a training, a thousand steps at most
custom_hooks = [dict(type='EMAHook', ema_type='MomentumAnnealingEMA', momentum=0.001, gamma=100)]
visualizer = dict(type='Visualizer')
log_processor = dict(by_epoch=False)
