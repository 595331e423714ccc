"""SAGA in a plain trunk, with the schedule of DeiT."""

_base_ = 'saga-vit-tiny_8xb128_in1k.py'

model = dict(backbone=dict(arch='small'), head=dict(in_channels=384))
