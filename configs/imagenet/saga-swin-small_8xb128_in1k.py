"""The schedule of FLatten for this backbone."""

_base_ = [
    '../_base_/models/imagenet_classifier.py',
    '../_base_/datasets/imagenet_224.py',
    '../_base_/schedules/imagenet_300e_warmup-20.py',
    '../_base_/classification_runtime.py',
]

model = dict(
    backbone=dict(
        type='saga_mm.Swin',
        arch='small',
        attention=['saga', 'saga', 'softmax', 'softmax'],
        drop_path_rate=0.3,
        out_indices=(3,),
    ),
    head=dict(in_channels=768),
)
optim_wrapper = dict(clip_grad=dict(max_norm=5.0))
