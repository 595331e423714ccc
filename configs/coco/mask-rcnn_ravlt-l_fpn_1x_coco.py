_base_ = 'mask-rcnn_ravlt-t_fpn_1x_coco.py'

model = dict(backbone=dict(arch='large', drop_path_rate=0.55), neck=dict(in_channels=[96, 192, 448, 640]))
