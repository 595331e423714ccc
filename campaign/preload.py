"""Imports of everything that a tool imports, so that forked processes need not."""

from __future__ import annotations

import importlib
import warnings
from contextlib import suppress

MODULES = (
    *('cv2', 'av', 'matplotlib.pyplot', 'pycocotools.coco', 'skimage.metrics', 'OpenImageIO', 'tqdm', 'onnxruntime'),
    *('mmengine.runner', 'mmdet.apis', 'mmdet.visualization', 'mmdet.evaluation', 'mmdet.datasets', 'mmdet.models'),
    *('mmseg.apis', 'mmseg.visualization', 'mmseg.evaluation', 'mmseg.datasets', 'mmseg.models', 'torch.optim'),
    *('saga_mm.models', 'saga_mm.models.openmmlab', 'saga_mm.runs.train', 'saga_mm.runs.test', 'saga_mm.runs.predict'),
    *('saga_mm.runs.publish', 'saga_mm.runs.export', 'saga_mm.runs.check_data', 'saga_mm.tasks.detection.prediction'),
    *('saga_mm.tasks.segmentation.prediction', 'saga_mm.tasks.enhancement.data', 'saga_mm.display.run_report'),
    *('saga_mm.tasks.enhancement.photographs', 'saga_mm.datasets.checks.survey_report', 'saga_mm.export'),
    'saga_mm.analysis',
)


def import_all() -> None:
    """Import what is installed of :data:`MODULES`."""
    from saga_mm.loading.quiet import quiet_imports

    with warnings.catch_warnings(), quiet_imports():
        for name in MODULES:
            with suppress(ImportError):
                importlib.import_module(name)
    with suppress(ImportError):
        import OpenImageIO

        # a forked process would wait for threads that are not there
        OpenImageIO.attribute('threads', 1)
