"""Backbones, one a file. Each takes ``attention=``."""

from .cswin import CSwin
from .named import create_backbone, list_backbones
from .pvt import PVT
from .pvt_v2 import PVTv2
from .ravlt import RAVLT
from .swin import Swin
from .vit import ViT

__all__ = ['PVT', 'RAVLT', 'CSwin', 'PVTv2', 'Swin', 'ViT', 'create_backbone', 'list_backbones']
