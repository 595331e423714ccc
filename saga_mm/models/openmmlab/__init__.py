"""Necks and segmentation heads of mmdet and mmseg in strips of rows."""

from saga_mm.models.norm_steps import GroupNormStep

from .heads import head_rows
from .layer_steps import JoinedRows, ResizedRows, SumRows, conv_steps
from .necks import neck_rows
from .segmentor import feature_rows, label_rows, segment_rows, segmentor_parts

__all__ = [
    'GroupNormStep',
    'JoinedRows',
    'ResizedRows',
    'SumRows',
    'conv_steps',
    'feature_rows',
    'head_rows',
    'label_rows',
    'neck_rows',
    'segment_rows',
    'segmentor_parts',
]
