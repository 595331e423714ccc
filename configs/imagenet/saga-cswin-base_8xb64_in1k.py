"""The schedule of FLatten for this backbone."""

_base_ = 'saga-cswin-tiny_8xb256_in1k.py'

model = dict(backbone=dict(arch='flatten_base', drop_path_rate=0.5), head=dict(in_channels=768))
train_dataloader = dict(batch_size=64)
optim_wrapper = dict(optimizer=dict(lr=5e-4, weight_decay=0.1))
auto_scale_lr = dict(base_batch_size=512)
custom_hooks = [dict(type='EMAHook', momentum=1.8e-4)]
