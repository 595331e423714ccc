"""Evaluates ``saga_upernet.py`` on whole pictures of 1024 x 2048, with shapes as large as those it was trained on."""

_base_ = 'saga_upernet.py'

demo_data = dict(type='shapes_large', root='data/demo_shapes_large')
test_dataloader = dict(dataset=dict(data_root='data/demo_shapes_large/'))
train_dataloader = None
train_cfg = None
optim_wrapper = None
param_scheduler = None
val_dataloader = None
val_cfg = None
val_evaluator = None
