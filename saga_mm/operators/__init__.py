"""Substitutes for the compiled operators of mmcv that mmdet and mmseg use.

For each the first of mmcv's, torchvision's and our own is taken. ``import saga_mm`` sets this up; it has to come before
mmcv's operators are imported. ``docs/operators.md`` says more.
"""

from importlib import import_module

from .finder import install

__all__ = ['in_use', 'install']


def in_use() -> str:
    """One line that says which operators mmdet and mmseg run on; needs torch."""
    return import_module('saga_mm.operators.extension').in_use()
