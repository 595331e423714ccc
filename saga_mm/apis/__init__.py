"""What a user calls from Python. Nothing here needs more than torch and mmengine at import."""

from saga_mm.models.backbones.named import create_backbone, list_backbones
from saga_mm.tasks.enhancement.inferencer import LowLightInferencer

__all__ = ['LowLightInferencer', 'create_backbone', 'list_backbones']
