"""The schedule of FLatten for this backbone."""

_base_ = [
    '../_base_/models/imagenet_classifier.py',
    '../_base_/datasets/imagenet_224.py',
    '../_base_/schedules/imagenet_310e.py',
    '../_base_/classification_runtime.py',
]

model = dict(
    backbone=dict(
        type='saga_mm.PVTv2',
        arch='b1',
        attention='saga',
        drop_path_rate=0.1,
        out_indices=(3,),
    ),
    head=dict(in_channels=512),
)
