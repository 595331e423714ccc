_base_ = 'default_runtime.py'

# a training that counts iterations instead of epochs
default_hooks = dict(logger=dict(log_metric_by_epoch=False), checkpoint=dict(by_epoch=False, interval=500))
log_processor = dict(by_epoch=False)
