"""What a user calls from Python. Nothing here needs more than torch and mmengine at import."""

from .backbones import create_backbone, list_backbones
from .low_light import LowLightInferencer

__all__ = ['LowLightInferencer', 'create_backbone', 'list_backbones']
