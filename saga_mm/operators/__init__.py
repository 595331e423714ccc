"""The operators that mmdet and mmseg take from mmcv, where mmcv was installed without its compiled ones.

For each the first of mmcv's, torchvision's and our own is taken. ``import saga_mm`` sets this up; it has to come before
mmcv's operators are imported. ``docs/operators.md`` says more.
"""

from .extension import in_use
from .finder import install

__all__ = ['in_use', 'install']
