"""Python interface. Importing it needs torch and mmengine alone; the rest is imported when it is named."""

from importlib import import_module
from typing import TYPE_CHECKING, Any

from saga_mm.models.backbones.named import create_backbone, list_backbones
from saga_mm.tasks.enhancement.inferencer import LowLightInferencer

if TYPE_CHECKING:
    from saga_mm.images.large import open_rows
    from saga_mm.tasks.classification.prediction import Classifier
    from saga_mm.tasks.detection.detector import Detector
    from saga_mm.tasks.segmentation.segmenter import Segmenter
    from saga_mm.tasks.segmentation.strips import segment_strips

# these need the stack, or OpenCV
LATER = {
    'Classifier': 'saga_mm.tasks.classification.prediction',
    'Detector': 'saga_mm.tasks.detection.detector',
    'Segmenter': 'saga_mm.tasks.segmentation.segmenter',
    'open_rows': 'saga_mm.images.large',
    'segment_strips': 'saga_mm.tasks.segmentation.strips',
}

__all__ = [
    'Classifier',
    'Detector',
    'LowLightInferencer',
    'Segmenter',
    'create_backbone',
    'list_backbones',
    'open_rows',
    'segment_strips',
]


def __getattr__(name: str) -> Any:
    if name not in LATER:
        raise AttributeError(f'module {__name__!r} has no attribute {name!r}')
    return getattr(import_module(LATER[name]), name)
