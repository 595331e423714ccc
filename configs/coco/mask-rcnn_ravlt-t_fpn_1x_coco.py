_base_ = [
    '../_base_/models/mask-rcnn_saga-pvt-t_fpn.py',
    '../_base_/datasets/coco_instance.py',
    '../_base_/schedules/adamw_1x.py',
    '../_base_/default_runtime.py',
]

# published in mixed precision: add --amp on a GPU
model = dict(
    backbone=dict(_delete_=True, type='saga_mm.RAVLT', arch='tiny', norm_cfg=dict(type='SyncBN'), drop_path_rate=0.1),
    neck=dict(in_channels=[64, 128, 256, 512]),
)
optim_wrapper = dict(
    optimizer=dict(lr=1e-4, weight_decay=0.05), paramwise_cfg=dict(custom_keys={'norm': dict(decay_mult=0.0)})
)
