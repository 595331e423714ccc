"""SAGAUNet on demo photographs that are made and darkened at first use: from scratch, on a CPU, in minutes."""

_base_ = [
    '_base_/models/saga-unet.py',
    '_base_/datasets/demo_photos.py',
    '_base_/schedules/demo_lowlight.py',
    '_base_/low_light_runtime.py',
]
