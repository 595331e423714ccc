_base_ = 'cascade-mask-rcnn_saga-swin-t_fpn_3x_coco.py'

# published in mixed precision: add --amp on a GPU
model = dict(
    backbone=dict(_delete_=True, type='saga_mm.RAVLT', arch='small', norm_cfg=dict(type='SyncBN'), drop_path_rate=0.15),
    neck=dict(in_channels=[64, 128, 320, 512]),
)
