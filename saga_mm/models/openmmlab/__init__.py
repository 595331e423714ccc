"""Necks and segmentation heads in strips of rows, after backbones that run so by themselves."""

from .heads import head_rows
from .layers import GroupNormStep, JoinedRows, ResizedRows, SumRows, conv_steps
from .necks import neck_rows
from .segmentor import label_rows, segment_rows, segmentor_parts

__all__ = [
    'GroupNormStep',
    'JoinedRows',
    'ResizedRows',
    'SumRows',
    'conv_steps',
    'head_rows',
    'label_rows',
    'neck_rows',
    'segment_rows',
    'segmentor_parts',
]
