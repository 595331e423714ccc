"""Weights on clean terms: good photographs alone, darkened by anything from nothing to five stops.

data/photos/train and data/photos/val: long sides of 640 and 1280 pixels. Which photographs the weights that ship with
the package have seen is listed beside them.
"""

_base_ = '../lol/saga-unet_4k_lol-v1-crops.py'

train_pipeline = [
    dict(type='saga_mm.LoadPair'),
    dict(type='saga_mm.PairRandomCrop', crop_size=192),
    dict(type='saga_mm.PairRandomFlip'),
    dict(type='saga_mm.SynthesizeLowLight', exposure=(0.0, 5.0), falloff=(0.0, 4.0)),
    dict(type='saga_mm.PackLowLightInputs'),
]
test_pipeline = [
    dict(type='saga_mm.LoadPair'),
    dict(type='saga_mm.SynthesizeLowLight', exposure=(0.0, 5.0), falloff=(0.0, 4.0), seed=0),
    dict(type='saga_mm.PackLowLightInputs'),
]
photos = dict(_delete_=True, type='saga_mm.PairedLowLightDataset', data_root='data/photos', low=None)
train_dataloader = dict(dataset=dict(high='train', pipeline=train_pipeline, **photos))
val_dataloader = dict(dataset=dict(high='val', test_mode=True, pipeline=test_pipeline, **photos))
test_dataloader = val_dataloader
train_cfg = dict(max_iters=2400, val_interval=600)
param_scheduler = [
    dict(type='LinearLR', start_factor=0.01, by_epoch=False, begin=0, end=200),
    dict(type='CosineAnnealingLR', by_epoch=False, begin=200, end=2400, T_max=2200, eta_min_ratio=0.005),
]
default_hooks = dict(checkpoint=dict(interval=600))
