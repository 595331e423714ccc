"""Metrics that the stack does not have."""

from .class_iou import ClassIoUMetric

__all__ = ['ClassIoUMetric']
