train_cfg = dict(type='IterBasedTrainLoop', max_iters=80000, val_interval=8000)
val_cfg = dict(type='ValLoop')
test_cfg = dict(type='TestLoop')
param_scheduler = [dict(type='PolyLR', eta_min=0.0, power=0.9, by_epoch=False, begin=0, end=80000)]
optim_wrapper = dict(type='OptimWrapper', optimizer=dict(type='AdamW', lr=1e-4, weight_decay=1e-4))
# the learning rate is for 8 GPUs with 2 images each; --auto-scale-lr fits it to what is at hand
auto_scale_lr = dict(enable=False, base_batch_size=16)
# recipes for a backbone with weights of ImageNet; a training that starts without is warned of
needs_pretrained = True
