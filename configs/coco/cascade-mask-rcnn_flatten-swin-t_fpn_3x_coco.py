_base_ = 'cascade-mask-rcnn_saga-swin-t_fpn_3x_coco.py'

model = dict(backbone=dict(attention=['focused', 'focused', 'softmax', 'softmax']))
