"""High-resolution dense prediction with linear attention, on the OpenMMLab stack."""

from .apis import create_backbone, list_backbones
from .errors import SagaError
from .version import __version__

__all__ = ['SagaError', '__version__', 'create_backbone', 'list_backbones']
