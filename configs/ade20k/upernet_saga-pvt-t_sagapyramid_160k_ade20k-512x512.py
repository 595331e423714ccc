_base_ = 'upernet_saga-pvt-t_160k_ade20k-512x512.py'

model = dict(neck=dict(type='saga_mm.SAGAPyramid', in_channels=[64, 128, 320, 512]))
