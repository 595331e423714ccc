train_cfg = dict(type='EpochBasedTrainLoop', max_epochs=12, val_interval=1)
val_cfg = dict(type='ValLoop')
test_cfg = dict(type='TestLoop')
param_scheduler = [
    dict(type='LinearLR', start_factor=0.001, by_epoch=False, begin=0, end=500),
    dict(type='MultiStepLR', begin=0, end=12, by_epoch=True, milestones=[8, 11], gamma=0.1),
]
optim_wrapper = dict(type='OptimWrapper', optimizer=dict(type='AdamW', lr=2e-4, weight_decay=1e-4))
# the learning rate is for 8 GPUs with 2 images each; --auto-scale-lr fits it to what is at hand
auto_scale_lr = dict(enable=False, base_batch_size=16)
# recipes for a backbone with weights of ImageNet; a training that starts without is warned of
needs_pretrained = True
