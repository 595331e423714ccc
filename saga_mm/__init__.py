"""High-resolution dense prediction with linear attention, on the OpenMMLab stack."""

from saga_mm import operators
from saga_mm.models.backbones import create_backbone, list_backbones

from .engines import explain, use_engine
from .errors import SagaError
from .version import __version__

operators.install()

__all__ = ['SagaError', '__version__', 'create_backbone', 'explain', 'list_backbones', 'use_engine']
