"""Second stage of ``base``: a quarter of the photographs lose up to 7.5 stops, and the rate ends at zero.

Starts from weights by saga-unet_photos-clean.py: ``--cfg-options load_from=CHECKPOINT``.
"""

_base_ = 'saga-unet-tiny_photos-clean-deep.py'

evenly = _base_.evenly
deep = _base_.deep
backlit = _base_.backlit
quarters = [
    dict(high='train', pipeline=[*_base_.read, darken, _base_.pack], **_base_.photos)
    for darken in (evenly, evenly, deep, backlit)
]
model = dict(backbone=dict(arch='base'))
train_dataloader = dict(dataset=dict(datasets=quarters))
optim_wrapper = dict(optimizer=dict(lr=5e-4))
