"""With 20 epochs of warm-up, as Swin is trained."""

_base_ = 'imagenet_300e.py'

param_scheduler = [
    dict(type='LinearLR', start_factor=1e-3, by_epoch=True, begin=0, end=20, convert_to_iter_based=True),
    dict(
        type='CosineAnnealingLR',
        eta_min_ratio=0.01,
        by_epoch=True,
        begin=20,
        end=300,
        T_max=280,
        convert_to_iter_based=True,
    ),
]
