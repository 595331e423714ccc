"""The demo's Mask R-CNN with a feature pyramid whose levels share one state of linear attention."""

_base_ = 'saga_maskrcnn.py'

model = dict(neck=dict(type='saga_mm.SAGAFPN', embed_dims=64, num_heads=2))
