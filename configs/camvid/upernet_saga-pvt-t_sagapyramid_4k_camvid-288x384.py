_base_ = 'upernet_saga-pvt-t_4k_camvid-288x384.py'

model = dict(neck=dict(type='saga_mm.SAGAPyramid', in_channels=[64, 128, 320, 512]))
