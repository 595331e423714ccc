"""Child registries of mmengine's.

Naming the package in a config is enough, ``type='saga_mm.PVT'``: mmengine imports this module by the scope's name, and
the registry then imports its ``locations``. Nothing heavy may be imported here.
"""

from mmengine.registry import DATASETS as MMENGINE_DATASETS
from mmengine.registry import HOOKS as MMENGINE_HOOKS
from mmengine.registry import METRICS as MMENGINE_METRICS
from mmengine.registry import MODELS as MMENGINE_MODELS
from mmengine.registry import OPTIM_WRAPPER_CONSTRUCTORS as MMENGINE_OPTIM_WRAPPER_CONSTRUCTORS
from mmengine.registry import TRANSFORMS as MMENGINE_TRANSFORMS
from mmengine.registry import Registry

MODELS = Registry('model', parent=MMENGINE_MODELS, scope='saga_mm', locations=['saga_mm.models'])
OPTIM_WRAPPER_CONSTRUCTORS = Registry(
    'optimizer wrapper constructor',
    parent=MMENGINE_OPTIM_WRAPPER_CONSTRUCTORS,
    scope='saga_mm',
    locations=['saga_mm.engine.layer_decay'],
)
HOOKS = Registry(
    'hook', parent=MMENGINE_HOOKS, scope='saga_mm', locations=['saga_mm.engine.hooks', 'saga_mm.engine.progressive']
)
METRICS = Registry('metric', parent=MMENGINE_METRICS, scope='saga_mm', locations=['saga_mm.evaluation'])
DATASETS = Registry(
    'dataset',
    parent=MMENGINE_DATASETS,
    scope='saga_mm',
    locations=['saga_mm.datasets.low_light.pairs', 'saga_mm.datasets.classification.folders'],
)
TRANSFORMS = Registry(
    'transform',
    parent=MMENGINE_TRANSFORMS,
    scope='saga_mm',
    locations=['saga_mm.datasets.low_light.transforms', 'saga_mm.datasets.classification.transforms'],
)
