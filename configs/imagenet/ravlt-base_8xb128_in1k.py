"""As published; the number of GPUs there is not known."""

_base_ = [
    '../_base_/models/imagenet_classifier.py',
    '../_base_/datasets/imagenet_224.py',
    '../_base_/schedules/imagenet_300e.py',
    '../_base_/classification_runtime.py',
]

model = dict(
    backbone=dict(
        type='saga_mm.RAVLT',
        arch='base',
        attention=['rala', 'rala', 'softmax', 'softmax'],
        drop_path_rate=0.4,
        out_indices=(3,),
        out_norm=False,
    ),
    head=dict(type='saga_mm.ConvClsHead', in_channels=512),
)
custom_hooks = [dict(type='EMAHook', momentum=8e-5)]
train_dataloader = dict(sampler=dict(_delete_=True, type='saga_mm.RepeatedSampler', num_repeats=3))
