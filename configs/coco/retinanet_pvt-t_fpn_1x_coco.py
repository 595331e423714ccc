_base_ = 'retinanet_saga-pvt-t_fpn_1x_coco.py'

model = dict(backbone=dict(attention='softmax'))
