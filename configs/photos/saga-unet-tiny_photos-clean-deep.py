"""Second stage of ``tiny``: a third of the photographs lose up to 7.5 stops, and the rate ends at zero.

Starts from weights by saga-unet-tiny_photos-clean.py: ``--cfg-options load_from=CHECKPOINT``.
"""

_base_ = 'saga-unet-tiny_photos-clean.py'

evenly = dict(type='saga_mm.SynthesizeLowLight', exposure=(0.0, 5.5), falloff=(0.0, 3.0), lamps=(0, 1))
# a quarter of LOL-v1's dark pictures have lost more than six stops, and their colours differ by half a stop
deep = dict(
    type='saga_mm.SynthesizeLowLight',
    exposure=(3.0, 7.5),
    falloff=(0.0, 1.0),
    cast=0.5,
    black_level=2.0,
    headroom=(0.0, 1.0),
)
backlit = dict(type='saga_mm.SynthesizeLowLight', exposure=(0.0, 1.5), backlight=(0.0, 5.0), lamps=(0, 1))
read = [
    dict(type='saga_mm.LoadPair', light=True),
    dict(type='saga_mm.PairRandomCrop', crop_size=192),
    dict(type='saga_mm.PairRandomFlip'),
]
pack = dict(type='saga_mm.PackLowLightInputs')
photos = dict(type='saga_mm.PairedLowLightDataset', data_root='data/photos', low=None)
thirds = [dict(high='train', pipeline=[*read, darken, pack], **photos) for darken in (evenly, deep, backlit)]
train_dataloader = dict(batch_size=4, dataset=dict(datasets=thirds))
train_cfg = dict(max_iters=5000)
param_scheduler = [
    dict(type='LinearLR', start_factor=0.01, by_epoch=False, begin=0, end=100),
    dict(type='CosineAnnealingLR', by_epoch=False, begin=100, end=5000, T_max=4900, eta_min=0.0),
]
optim_wrapper = dict(optimizer=dict(lr=8e-4))
custom_hooks = [
    dict(type='EMAHook', ema_type='MomentumAnnealingEMA', momentum=0.004, gamma=100),
    dict(type='saga_mm.ProgressiveCropHook', sizes=[128, 192], starts=[0.0, 0.7]),
]
