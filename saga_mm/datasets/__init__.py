"""Data: the demo data that is made at first use, and checks of a user's own."""

from .coco_check import CocoSummary, check_coco, classes_of
from .coco_config import check_dataset_cfg
from .demo_draw import DEMO_CLASSES, DEMO_PALETTE
from .demo_shapes import ensure_demo_data, make_demo_shapes
from .segmentation_check import check_segmentation, check_segmentation_cfg

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
