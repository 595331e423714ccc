_base_ = [
    '../_base_/models/upernet_swin-t.py',
    '../_base_/datasets/ade20k.py',
    '../_base_/schedules/upernet_160k.py',
    '../_base_/segmentation_iters_runtime.py',
]
