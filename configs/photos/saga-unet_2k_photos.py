"""Weights on clean terms: good photographs alone, half darkened evenly by up to five stops, half in their dark parts.

data/photos/train and data/photos/val: long sides of 640 and 1280 pixels. Which photographs the weights that ship with
the package have seen is listed beside them.
"""

_base_ = '../lol/saga-unet_4k_lol-v1-crops.py'

read = [
    dict(type='saga_mm.LoadPair'),
    dict(type='saga_mm.PairRandomCrop', crop_size=192),
    dict(type='saga_mm.PairRandomFlip'),
]
evenly = dict(type='saga_mm.SynthesizeLowLight', exposure=(0.0, 5.0), falloff=(0.0, 4.0))
backlit = dict(type='saga_mm.SynthesizeLowLight', exposure=(0.0, 1.0), backlight=(0.0, 5.0))
pack = dict(type='saga_mm.PackLowLightInputs')
test_pipeline = [dict(type='saga_mm.LoadPair'), dict(seed=0, **evenly), pack]
photos = dict(type='saga_mm.PairedLowLightDataset', data_root='data/photos', low=None)
halves = [dict(high='train', pipeline=[*read, darken, pack], **photos) for darken in (evenly, backlit)]
train_dataloader = dict(dataset=dict(_delete_=True, type='ConcatDataset', datasets=halves))
val_dataloader = dict(dataset=dict(_delete_=True, high='val', test_mode=True, pipeline=test_pipeline, **photos))
test_dataloader = val_dataloader
train_cfg = dict(max_iters=2400, val_interval=600)
param_scheduler = [
    dict(type='LinearLR', start_factor=0.01, by_epoch=False, begin=0, end=200),
    dict(type='CosineAnnealingLR', by_epoch=False, begin=200, end=2400, T_max=2200, eta_min_ratio=0.005),
]
default_hooks = dict(checkpoint=dict(interval=600))
