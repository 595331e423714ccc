_base_ = [
    '../_base_/models/upernet_saga-pvt-t.py',
    '../_base_/datasets/camvid.py',
    '../_base_/schedules/camvid_4k.py',
    '../_base_/segmentation_iters_runtime.py',
]

# two images a step are too few for batch norm
norm_cfg = dict(type='GN', num_groups=8)
model = dict(
    data_preprocessor=dict(size=(288, 384)),
    decode_head=dict(channels=64, num_classes=11, norm_cfg=norm_cfg),
    auxiliary_head=dict(channels=64, num_classes=11, norm_cfg=norm_cfg),
)
default_hooks = dict(checkpoint=dict(interval=500))
