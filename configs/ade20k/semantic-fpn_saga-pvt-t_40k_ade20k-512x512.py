_base_ = [
    '../_base_/models/semantic-fpn_saga-pvt-t.py',
    '../_base_/datasets/ade20k.py',
    '../_base_/schedules/semantic-fpn_40k.py',
    '../_base_/segmentation_iters_runtime.py',
]

train_dataloader = dict(batch_size=4)
