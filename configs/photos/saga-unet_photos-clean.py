"""Weights on clean terms: photographs and pictures of linear light under free licences, darkened as cameras do.

data/photos/train and data/photos/val: long sides of up to 960 pixels; ``hdr`` in each: pictures NAME.jpg with their
linear light beside them, NAME.npz. Which ones the weights that ship with the package have seen is listed beside them.
"""

_base_ = [
    '../_base_/models/saga-unet.py',
    '../_base_/datasets/low_light_pairs.py',
    '../_base_/schedules/low_light.py',
    '../_base_/low_light_runtime.py',
]

model = dict(exposure=dict(type='saga_mm.Exposure'), edges='replicate')
evenly = dict(type='saga_mm.SynthesizeLowLight', exposure=(0.0, 5.5), falloff=(0.0, 3.0), lamps=(0, 1))
# a quarter of LOL-v1's dark pictures have lost more than six stops, and colours differ by half a stop
deep = dict(
    type='saga_mm.SynthesizeLowLight',
    exposure=(3.0, 7.5),
    falloff=(0.0, 1.0),
    cast=0.5,
    black_level=2.0,
    headroom=(0, 1),
)
backlit = dict(type='saga_mm.SynthesizeLowLight', exposure=(0.0, 1.5), backlight=(0.0, 5.0), lamps=(0, 1))
measured = dict(type='saga_mm.SynthesizeLowLight', exposure=(2.0, 5.0), seed=0)
read = [
    dict(type='saga_mm.LoadPair', light=True),
    dict(type='saga_mm.PairRandomCrop', crop_size=160),
    dict(type='saga_mm.PairRandomFlip'),
]
pack = dict(type='saga_mm.PackLowLightInputs')
photos = dict(type='saga_mm.PairedLowLightDataset', data_root='data/photos', low=None)
thirds = [dict(high='train', pipeline=[*read, darken, pack], **photos) for darken in (evenly, deep, backlit)]
test_pipeline = [dict(type='saga_mm.LoadPair', light=True), measured, pack]
held_out = dict(_delete_=True, high='val', test_mode=True, pipeline=test_pipeline, **photos)
train_dataloader = dict(
    batch_size=4,
    num_workers=0,
    persistent_workers=False,
    dataset=dict(_delete_=True, type='ConcatDataset', datasets=thirds),
)
val_dataloader = dict(num_workers=0, persistent_workers=False, dataset=held_out)
test_dataloader = val_dataloader
train_cfg = dict(max_iters=9000, val_interval=1000)
param_scheduler = [
    dict(type='LinearLR', start_factor=0.01, by_epoch=False, begin=0, end=100),
    dict(type='CosineAnnealingLR', by_epoch=False, begin=100, end=9000, T_max=8900, eta_min=0.0),
]
optim_wrapper = dict(optimizer=dict(lr=5e-4, fused=True))
default_hooks = dict(logger=dict(interval=25), checkpoint=dict(interval=200, max_keep_ckpts=3))
custom_hooks = [
    dict(type='EMAHook', ema_type='MomentumAnnealingEMA', momentum=0.004, gamma=100),
    dict(type='saga_mm.ProgressiveCropHook', sizes=[128, 160], starts=[0.0, 0.6]),
]
