_base_ = 'default_runtime.py'

default_scope = 'saga_mm'
default_hooks = dict(
    _delete_=True,
    timer=dict(type='IterTimerHook'),
    logger=dict(type='LoggerHook', interval=100),
    param_scheduler=dict(type='ParamSchedulerHook'),
    checkpoint=dict(type='CheckpointHook', interval=1, max_keep_ckpts=3, save_best='top1', rule='greater'),
    sampler_seed=dict(type='DistSamplerSeedHook'),
)
visualizer = dict(type='Visualizer')
