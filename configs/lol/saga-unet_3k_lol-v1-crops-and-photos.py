"""The weights that ship with the package: from those of LOL-v1 alone, on these and on good photographs, darkened.

The photographs lie in data/photos/train, long sides of 640 and 1280 pixels. Half are darkened by anything from nothing
to five stops, evenly and unevenly; the others in their dark parts above all, which teaches that what is bright already
stays as it is.
"""

_base_ = 'saga-unet_4k_lol-v1-crops.py'

load_from = 'work_dirs/saga-unet_4k_lol-v1-crops/iter_4200.pth'
pairs = {{_base_.train_dataloader.dataset}}
read = [
    dict(type='saga_mm.LoadPair'),
    dict(type='saga_mm.PairRandomCrop', crop_size=192),
    dict(type='saga_mm.PairRandomFlip'),
]
evenly = dict(type='saga_mm.SynthesizeLowLight', exposure=(0.0, 5.0), falloff=(0.0, 4.0))
backlit = dict(type='saga_mm.SynthesizeLowLight', exposure=(0.0, 1.0), backlight=(0.0, 5.0))
pack = dict(type='saga_mm.PackLowLightInputs')
photos = dict(type='saga_mm.PairedLowLightDataset', data_root='data/photos', low=None, high='train')
photos_evenly = dict(type='RepeatDataset', dataset=dict(pipeline=[*read, evenly, pack], **photos), times=3)
photos_backlit = dict(type='RepeatDataset', dataset=dict(pipeline=[*read, backlit, pack], **photos), times=3)
train_dataloader = dict(
    dataset=dict(_delete_=True, type='ConcatDataset', datasets=[pairs, photos_evenly, photos_backlit])
)
optim_wrapper = dict(optimizer=dict(lr=6e-4))
train_cfg = dict(max_iters=3000, val_interval=500)
param_scheduler = [
    dict(type='LinearLR', start_factor=0.01, by_epoch=False, begin=0, end=100),
    dict(type='CosineAnnealingLR', by_epoch=False, begin=100, end=3000, T_max=2900, eta_min_ratio=0.005),
]
default_hooks = dict(checkpoint=dict(interval=500))
