"""What a user calls from Python. Nothing here needs more than torch and mmengine at import."""

from .backbones import create_backbone, list_backbones

__all__ = ['create_backbone', 'list_backbones']
