"""A trained segmentor for arrays."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

import numpy as np

from saga_mm.errors import ArgumentError, SagaError
from saga_mm.images.given import rgb_picture
from saga_mm.loading.trained import Trained
from saga_mm.models.openmmlab import segmentor_parts
from saga_mm.models.openmmlab.labels import label_by_rows
from saga_mm.onnx.file import SELF_CONTAINED, is_onnx
from saga_mm.rows import MemoryBudget
from saga_mm.rows.memory_size import memory_size
from saga_mm.tasks.predictor import Predictor
from saga_mm.tasks.segmentation import SEGMENTATION
from saga_mm.tasks.segmentation.exported import ExportedSegmentor

if TYPE_CHECKING:
    from PIL.Image import Image

ONE_PIECE = 'an exported segmentor does a picture in one piece; config and checkpoint do it in strips'


class Segmenter(Predictor):
    """A model of mmseg's with its weights, for one picture at a time.

    A picture of which one pass is large, or does not fit the memory well, is run in strips of rows, with the same
    labels.

    Args:
        config: As of :class:`Predictor`, or a segmentor that ``tools/export.py`` wrote, ``NAME.onnx``, which takes
            nothing else but a device.
        checkpoint: As of :class:`Predictor`.
        device: As of :class:`Predictor`.
        cfg_options: As of :class:`Predictor`.
        max_memory: What the program may take, libraries included (on a GPU: of its memory), such as ``'4GB'``; None for
            half of what is free.
        engine: As of :class:`Predictor`.
        precision: As of :class:`Predictor`.

    Attributes:
        budget: The memory that pictures are run in; ``budget.explain()`` says how the last one was.
        keeps_size: Whether the config's test pipeline leaves pictures as they are.
        exported: The :class:`ExportedSegmentor` of an ``.onnx`` file, beside which there is no ``model``; else None.
    """

    task = SEGMENTATION

    def __init__(
        self,
        config: str | os.PathLike[str] | Trained,
        checkpoint: str | os.PathLike[str] | None = None,
        device: str | None = None,
        cfg_options: dict[str, Any] | None = None,
        max_memory: str | int | None = None,
        engine: str = 'auto',
        precision: str = 'f32',
    ) -> None:
        self.exported: ExportedSegmentor | None = None
        self.keeps_size = False
        self._max_memory = memory_size(max_memory)
        if isinstance(config, Trained) or not is_onnx(config):
            super().__init__(config, checkpoint, device, cfg_options, engine, precision)
            steps = [type(step).__name__ for step in self._pipeline.transforms]
            # nothing else than these changes no pixel, so that rows of the file are rows of what the model is given
            self.keeps_size = steps == ['LoadImageFromNDArray', 'PackSegInputs']
            return
        if checkpoint is not None or cfg_options or engine != 'auto' or precision != 'f32':
            raise SagaError(f'{config}: {SELF_CONTAINED}')
        if max_memory is not None:
            raise ArgumentError('max_memory', max_memory, ONE_PIECE)
        self.exported = ExportedSegmentor(config, device)
        self.classes = self.exported.facts.classes
        self.metainfo = {'classes': self.classes, 'palette': self.exported.facts.palette}

    def _prepare_model(self) -> None:
        self.budget = MemoryBudget.of(self.model, self._max_memory)
        label_by_rows(self.model, self.budget)

    def is_large(self, height: int, width: int) -> bool:
        """Whether a picture is run in strips, and can be by rows: where the config leaves pictures as they are."""
        padded = getattr(self.model.data_preprocessor, 'test_cfg', None)
        if not self.keeps_size or padded or self.model.test_cfg.get('mode', 'whole') != 'whole':
            return False
        try:
            parts = segmentor_parts(self.model, 1, height, width)
        except ValueError:
            # a part that does not run in strips: one pass is all that there is
            return False
        # the picture as it is read, as the model takes it, labels, and what is drawn
        return not self.budget.takes_whole(parts, held=(3 + 3 * 4 + 8 + 12) * height * width)

    def __call__(self, image: np.ndarray | Image | str | os.PathLike[str]) -> np.ndarray:
        """Find the class of each pixel of a picture.

        Args:
            image: An array ``(H, W, 3)`` uint8, RGB, and all that :func:`saga_mm.images.given.rgb_picture` takes.

        Returns:
            ``(H, W)`` of indices into ``classes``: uint8, or uint16 for more than 256 classes.
        """
        if self.exported is not None:
            return self.exported(rgb_picture(image))
        sample = self.predict(image)
        if 'pred_sem_seg' not in sample:
            raise SagaError(f'config {self.cfg.filename}: {type(self.model).__name__} does not segment pictures')
        kind = np.uint8 if len(self.classes) <= 256 else np.uint16
        return sample.pred_sem_seg.data[0].cpu().numpy().astype(kind)
