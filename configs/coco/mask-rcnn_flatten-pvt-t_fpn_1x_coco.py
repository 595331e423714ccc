_base_ = 'mask-rcnn_saga-pvt-t_fpn_1x_coco.py'

model = dict(backbone=dict(attention='focused'))
