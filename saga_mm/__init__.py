"""High-resolution dense prediction with linear attention, on the OpenMMLab stack.

Importing it needs no torch, so that commands answer at once; what needs torch is imported when it is named.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

from saga_mm import operators
from saga_mm.errors import SagaError
from saga_mm.version import __version__

if TYPE_CHECKING:
    from saga_mm.engines import explain, use_engine
    from saga_mm.hub import load, save
    from saga_mm.models.backbones import create_backbone, list_backbones

LATER = {
    'create_backbone': 'saga_mm.models.backbones',
    'explain': 'saga_mm.engines',
    'list_backbones': 'saga_mm.models.backbones',
    'load': 'saga_mm.hub',
    'save': 'saga_mm.hub',
    'use_engine': 'saga_mm.engines',
}

operators.install()

__all__ = ['SagaError', '__version__', 'create_backbone', 'explain', 'list_backbones', 'load', 'save', 'use_engine']


def __getattr__(name: str) -> Any:
    if name not in LATER:
        raise AttributeError(f'module {__name__!r} has no attribute {name!r}')
    return getattr(import_module(LATER[name]), name)


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
