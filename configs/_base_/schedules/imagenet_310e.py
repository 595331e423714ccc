"""As FLatten-PVT is trained: the cosine ends at a fiftieth, which 10 more epochs keep."""

_base_ = 'imagenet_300e.py'

param_scheduler = [
    dict(type='LinearLR', start_factor=1e-3, by_epoch=True, begin=0, end=5, convert_to_iter_based=True),
    dict(
        type='CosineAnnealingLR',
        eta_min_ratio=0.02,
        by_epoch=True,
        begin=5,
        end=300,
        T_max=295,
        convert_to_iter_based=True,
    ),
]
train_cfg = dict(max_epochs=310)
