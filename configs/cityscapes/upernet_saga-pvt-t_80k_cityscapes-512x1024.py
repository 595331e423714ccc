_base_ = [
    '../_base_/models/upernet_saga-pvt-t.py',
    '../_base_/datasets/cityscapes.py',
    '../_base_/schedules/upernet_80k.py',
    '../_base_/segmentation_iters_runtime.py',
]

model = dict(
    data_preprocessor=dict(size=(512, 1024)), decode_head=dict(num_classes=19), auxiliary_head=dict(num_classes=19)
)
