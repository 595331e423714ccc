"""Faster R-CNN with a small SAGA backbone at 320 pixels, for photographs of one's own with boxes and no masks."""

_base_ = 'saga_maskrcnn_320.py'

model = dict(type='FasterRCNN', roi_head=dict(mask_roi_extractor=None, mask_head=None))
boxes = dict(type='LoadAnnotations', with_bbox=True)
train_pipeline = [boxes if step['type'] == 'LoadAnnotations' else step for step in _base_.train_pipeline]
test_pipeline = [boxes if step['type'] == 'LoadAnnotations' else step for step in _base_.test_pipeline]
train_dataloader = dict(dataset=dict(pipeline=train_pipeline))
val_dataloader = dict(dataset=dict(pipeline=test_pipeline))
test_dataloader = val_dataloader
val_evaluator = dict(metric='bbox')
test_evaluator = val_evaluator
