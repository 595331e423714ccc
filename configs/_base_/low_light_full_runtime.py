_base_ = 'low_light_runtime.py'

default_hooks = dict(checkpoint=dict(interval=5000))
custom_hooks = [
    dict(type='EMAHook', ema_type='MomentumAnnealingEMA', momentum=0.001, gamma=100),
    dict(type='saga_mm.ProgressiveCropHook', sizes=[96, 128, 192], starts=[0.0, 0.4, 0.7]),
]
