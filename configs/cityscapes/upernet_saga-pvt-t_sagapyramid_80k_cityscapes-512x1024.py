_base_ = 'upernet_saga-pvt-t_80k_cityscapes-512x1024.py'

model = dict(neck=dict(type='saga_mm.SAGAPyramid', in_channels=[64, 128, 320, 512]))
