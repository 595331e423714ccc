"""A SAGA backbone and a pyramid whose levels share one state, as an enhancer, on the demo photographs."""

_base_ = 'saga_lowlight.py'

model = dict(
    backbone=dict(_delete_=True, type='saga_mm.PVT', arch='tiny', attention='saga', drop_path_rate=0.0),
    neck=dict(type='saga_mm.SAGAPyramid', in_channels=[64, 128, 320, 512]),
    head=dict(in_channels=[64, 128, 320, 512], strides=[4, 8, 16, 32]),
    pad_divisor=32,
)
