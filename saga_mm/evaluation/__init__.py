"""Metrics beyond those of mmdet and mmseg. Metrics that build on mmseg exist where it is installed."""

import importlib.util

from .accuracy import Accuracy
from .baseline import BaselineMetric
from .enhancement_metric import EnhancementMetric

__all__ = ['Accuracy', 'BaselineMetric', 'EnhancementMetric']

if importlib.util.find_spec('mmseg') is not None:
    from .class_iou import ClassIoUMetric

    __all__ += ['ClassIoUMetric']
