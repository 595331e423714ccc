_base_ = 'semantic-fpn_80k.py'

train_cfg = dict(max_iters=40000)
param_scheduler = [dict(type='PolyLR', eta_min=0.0, power=0.9, by_epoch=False, begin=0, end=40000)]
optim_wrapper = dict(optimizer=dict(lr=2e-4))
# the learning rate is for 8 GPUs with 4 images each
auto_scale_lr = dict(base_batch_size=32)
