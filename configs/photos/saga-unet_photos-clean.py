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
backlit = dict(type='saga_mm.SynthesizeLowLight', exposure=(0.0, 1.5), backlight=(0.0, 5.0), lamps=(0, 1))
measured = dict(type='saga_mm.SynthesizeLowLight', exposure=(2.0, 5.0), seed=0)
read = [
    dict(type='saga_mm.LoadPair', light=True),
    dict(type='saga_mm.PairRandomCrop', crop_size=192),
    dict(type='saga_mm.PairRandomFlip'),
]
pack = dict(type='saga_mm.PackLowLightInputs')
photos = dict(type='saga_mm.PairedLowLightDataset', data_root='data/photos', low=None)
halves = [dict(high='train', pipeline=[*read, darken, pack], **photos) for darken in (evenly, evenly, backlit)]
test_pipeline = [dict(type='saga_mm.LoadPair', light=True), measured, pack]
held_out = dict(_delete_=True, high='val', test_mode=True, pipeline=test_pipeline, **photos)
train_dataloader = dict(
    num_workers=0, persistent_workers=False, dataset=dict(_delete_=True, type='ConcatDataset', datasets=halves)
)
val_dataloader = dict(num_workers=0, persistent_workers=False, dataset=held_out)
test_dataloader = val_dataloader
# the rate stays, and what is published is the mean of the newest steps: a training may be stopped, and resumed, at will
train_cfg = dict(max_iters=60000, val_interval=2000)
param_scheduler = [dict(type='LinearLR', start_factor=0.01, by_epoch=False, begin=0, end=200)]
optim_wrapper = dict(optimizer=dict(lr=8e-4, fused=True))
default_hooks = dict(logger=dict(interval=25), checkpoint=dict(interval=50, max_keep_ckpts=3))
custom_hooks = [
    dict(type='EMAHook', ema_type='MomentumAnnealingEMA', momentum=0.002, gamma=100),
    dict(type='saga_mm.ProgressiveCropHook', sizes=[96, 128, 192], starts=[0.0, 0.08, 0.4]),
]
