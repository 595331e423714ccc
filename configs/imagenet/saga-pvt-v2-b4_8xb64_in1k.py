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
        arch='b4',
        attention='saga',
        drop_path_rate=0.3,
        out_indices=(3,),
    ),
    head=dict(in_channels=512),
)
train_dataloader = dict(batch_size=64)
optim_wrapper = dict(clip_grad=dict(max_norm=1.0), optimizer=dict(lr=0.0005))
auto_scale_lr = dict(base_batch_size=512)
