"""A trained segmentation model for use on arrays."""

from __future__ import annotations

import os
from typing import Any

import numpy as np

from saga_mm.apis.exported import ExportedSegmentor
from saga_mm.apis.predictor import Predictor
from saga_mm.errors import SagaError
from saga_mm.onnx_file import SELF_CONTAINED, is_onnx


class Segmenter(Predictor):
    """A model of mmseg's with its weights, for one picture at a time.

    Args:
        config: The config file, or a segmentor that ``tools/export.py`` wrote, ``NAME.onnx``, which takes nothing else
            but a device.
        checkpoint: As of :class:`Predictor`.
        device: As of :class:`Predictor`.
        cfg_options: As of :class:`Predictor`.

    Attributes:
        exported: The :class:`ExportedSegmentor` of an ``.onnx`` file, beside which there is no ``model``; else None.
    """

    package = 'mmseg'

    def __init__(
        self,
        config: str | os.PathLike[str],
        checkpoint: str | os.PathLike[str] | None = None,
        device: str | None = None,
        cfg_options: dict[str, Any] | None = None,
    ) -> None:
        self.exported: ExportedSegmentor | None = None
        if not is_onnx(config):
            if checkpoint is None:
                raise SagaError(f'config {config}: name its checkpoint as well')
            super().__init__(config, checkpoint, device, cfg_options)
            return
        if checkpoint is not None or cfg_options:
            raise SagaError(f'{config}: {SELF_CONTAINED}')
        self.exported = ExportedSegmentor(config, device)
        self.classes = self.exported.facts.classes
        self.metainfo = {'classes': self.classes, 'palette': self.exported.facts.palette}

    def __call__(self, image: np.ndarray) -> np.ndarray:
        """Find the class of each pixel of a picture.

        Args:
            image: ``(H, W, 3)`` uint8, RGB.

        Returns:
            ``(H, W)`` of indices into ``classes``: uint8, or uint16 for more than 256 classes.
        """
        if self.exported is not None:
            return self.exported(image)
        sample = self.predict(image)
        if 'pred_sem_seg' not in sample:
            raise SagaError(f'config {self.cfg.filename}: {type(self.model).__name__} does not segment pictures')
        kind = np.uint8 if len(self.classes) <= 256 else np.uint16
        return sample.pred_sem_seg.data[0].cpu().numpy().astype(kind)
