_base_ = [
    '../_base_/models/imagenet_classifier.py',
    '../_base_/datasets/imagenet_224.py',
    '../_base_/schedules/imagenet_300e.py',
    '../_base_/classification_runtime.py',
]

model = dict(
    backbone=dict(
        type='saga_mm.PVT',
        arch='medium',
        attention='softmax',
        drop_path_rate=0.3,
        out_indices=(3,),
        class_token=True,
    ),
    head=dict(in_channels=512, pooling='token', norm_eps=1e-6),
)
optim_wrapper = dict(
    paramwise_cfg=dict(custom_keys={'.position.table': dict(decay_mult=0.0), '.class_token': dict(decay_mult=0.0)})
)
