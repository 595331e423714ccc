"""The schedule of FLatten for this backbone."""

_base_ = [
    '../_base_/models/imagenet_classifier.py',
    '../_base_/datasets/imagenet_224.py',
    '../_base_/schedules/imagenet_310e_warmup-20.py',
    '../_base_/classification_runtime.py',
]

model = dict(
    backbone=dict(
        type='saga_mm.CSwin',
        arch='small',
        attention='softmax',
        drop_path_rate=0.4,
        out_indices=(3,),
    ),
    head=dict(in_channels=512),
)
custom_hooks = [dict(type='EMAHook', momentum=1.6e-4)]
