"""Demo data, data sets and transforms, and checks of a user's data."""

from saga_mm.datasets.checks.coco import CocoSummary, check_coco, classes_of
from saga_mm.datasets.checks.coco_config import check_dataset_cfg
from saga_mm.datasets.checks.segmentation import check_segmentation, check_segmentation_cfg
from saga_mm.datasets.demo.outlines import DEMO_CLASSES, DEMO_PALETTE
from saga_mm.datasets.demo.shapes import ensure_demo_data, make_demo_shapes

__all__ = [
    'DEMO_CLASSES',
    'DEMO_PALETTE',
    'CocoSummary',
    'check_coco',
    'check_dataset_cfg',
    'check_segmentation',
    'check_segmentation_cfg',
    'classes_of',
    'ensure_demo_data',
    'make_demo_shapes',
]
