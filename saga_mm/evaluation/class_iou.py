"""Intersection over union, with the value of each class."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from mmseg.evaluation import IoUMetric
from PIL import Image

from saga_mm.files import write_image
from saga_mm.registry import METRICS


@METRICS.register_module()
class ClassIoUMetric(IoUMetric):
    """mmseg's ``IoUMetric``, which puts the figures of single classes into its log and not into its result.

    The result has ``'IoU NAME'`` in percent for every class besides the means, NaN for a class that neither occurs nor
    is predicted.

    Args:
        *args: Of ``IoUMetric``.
        image_root: Folder of the images, below which class maps lie in ``output_dir`` as the images do in it; without
            it they have the names of the images alone.
        **options: Of ``IoUMetric``.
    """

    _per_class: np.ndarray | None = None

    def __init__(self, *args: Any, image_root: str | None = None, **options: Any) -> None:
        super().__init__(*args, **options)
        self.image_root = Path(os.path.abspath(image_root)) if image_root is not None else None

    def process(self, data_batch: dict, data_samples: Sequence[dict]) -> None:
        """As in mmseg; class maps appear when they are complete."""
        # mmseg would write in place, two pictures of one name over each other, and ids from 256 on modulo 256
        folder, self.output_dir = self.output_dir, None
        try:
            super().process(data_batch, data_samples)
        finally:
            self.output_dir = folder
        deep = len(self.dataset_meta['classes']) > 255
        for sample in data_samples if folder is not None else ():
            ids = sample['pred_sem_seg']['data'].squeeze(0).cpu().numpy() + bool(sample.get('reduce_zero_label'))
            path = Path(folder, self._name(sample['img_path']))
            path.parent.mkdir(parents=True, exist_ok=True)
            write_image(path, Image.fromarray(ids.astype(np.uint16 if deep else np.uint8)).save)

    def _name(self, image: str) -> Path:
        source = Path(os.path.abspath(image))
        # equal names in several folders
        known = self.image_root is not None and source.is_relative_to(self.image_root)
        return (source.relative_to(self.image_root) if known else Path(source.name)).with_suffix('.png')

    def total_area_to_metrics(self, *areas: Any) -> dict[str, np.ndarray]:
        """As in mmseg, where it is static; the figures of the classes are kept."""
        figures = IoUMetric.total_area_to_metrics(*areas)
        self._per_class = figures.get('IoU')
        return figures

    def compute_metrics(self, results: list) -> dict[str, float]:
        means = super().compute_metrics(results)
        per_class = () if self._per_class is None else 100 * self._per_class
        figures = {f'IoU {name}': iou for name, iou in zip(self.dataset_meta['classes'], per_class)}
        return {name: round(float(figure), 2) for name, figure in {**means, **figures}.items()}
