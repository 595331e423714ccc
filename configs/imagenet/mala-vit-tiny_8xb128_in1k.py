"""MALA in a plain trunk, with the schedule of DeiT."""

_base_ = [
    '../_base_/models/imagenet_classifier.py',
    '../_base_/datasets/imagenet_224.py',
    '../_base_/schedules/imagenet_300e.py',
    '../_base_/classification_runtime.py',
]

model = dict(
    backbone=dict(
        type='saga_mm.ViT',
        arch='tiny',
        attention='mala',
        drop_path_rate=0.1,
    ),
    head=dict(in_channels=192),
)
optim_wrapper = dict(
    paramwise_cfg=dict(custom_keys={'.position.table': dict(decay_mult=0.0), '.class_token': dict(decay_mult=0.0)})
)
train_dataloader = dict(sampler=dict(_delete_=True, type='saga_mm.RepeatedSampler', num_repeats=3))
