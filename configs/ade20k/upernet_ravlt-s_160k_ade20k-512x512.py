# published in mixed precision: add --amp on a GPU
_base_ = [
    '../_base_/models/upernet_ravlt-s.py',
    '../_base_/datasets/ade20k.py',
    '../_base_/schedules/upernet_160k.py',
    '../_base_/segmentation_iters_runtime.py',
]
