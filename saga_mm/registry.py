"""Child registries of mmengine's, or plain registries where mmengine is not installed.

Naming the package in a config is enough, ``type='saga_mm.PVT'``: mmengine imports this module by the scope's name, and
the registry then imports its ``locations``. Nothing heavy may be imported here.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from saga_mm.foundation import HAS_MMENGINE, PlainRegistry

if HAS_MMENGINE:
    import mmengine.registry as parents

if TYPE_CHECKING:
    from mmengine.registry import Registry


def _child(kind: str, parent: str, *locations: str) -> Registry | PlainRegistry:
    if not HAS_MMENGINE:
        return PlainRegistry(locations)
    return parents.Registry(kind, parent=getattr(parents, parent), scope='saga_mm', locations=list(locations))


MODELS = _child('model', 'MODELS', 'saga_mm.models')
OPTIM_WRAPPER_CONSTRUCTORS = _child(
    'optimizer wrapper constructor', 'OPTIM_WRAPPER_CONSTRUCTORS', 'saga_mm.engine.layer_decay'
)
HOOKS = _child('hook', 'HOOKS', 'saga_mm.engine.hooks', 'saga_mm.engine.progressive')
METRICS = _child('metric', 'METRICS', 'saga_mm.evaluation')
DATASETS = _child('dataset', 'DATASETS', 'saga_mm.datasets.low_light.pairs', 'saga_mm.datasets.classification.folders')
TRANSFORMS = _child(
    'transform',
    'TRANSFORMS',
    'saga_mm.datasets.low_light.transforms',
    'saga_mm.datasets.classification.transforms',
)
DATA_SAMPLERS = _child('data sampler', 'DATA_SAMPLERS', 'saga_mm.datasets.classification.sampler')
