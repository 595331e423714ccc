"""As published; the number of GPUs there is not known."""

_base_ = 'ravlt-tiny_8xb128_in1k.py'

model = dict(backbone=dict(arch='small', drop_path_rate=0.15))
