_base_ = 'mask-rcnn_swin-t_fpn_1x_coco.py'

model = dict(backbone=dict(attention=['saga', 'saga', 'softmax', 'softmax']))
