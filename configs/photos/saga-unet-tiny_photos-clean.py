"""As saga-unet_photos-clean.py, a model of a sixth of the size, for videos."""

_base_ = 'saga-unet_photos-clean.py'

model = dict(backbone=dict(arch='tiny'))
optim_wrapper = dict(optimizer=dict(lr=1e-3))
