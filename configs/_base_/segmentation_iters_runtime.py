_base_ = 'segmentation_runtime.py'

# a training that counts iterations instead of epochs
default_hooks = dict(logger=dict(log_metric_by_epoch=False), checkpoint=dict(by_epoch=False, interval=8000))
log_processor = dict(by_epoch=False)
