"""An exported segmentor under ONNX Runtime, with the interface of a model with weights."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import torch

from saga_mm.models.openmmlab import ResizedRows, label_rows
from saga_mm.models.openmmlab.labels import PictureRows
from saga_mm.onnx.file import SCORES
from saga_mm.onnx.model import ExportedModel
from saga_mm.ops import round_up
from saga_mm.rows import MemoryRows
from saga_mm.tasks.exported_pictures import resize_picture


class ExportedSegmentor(ExportedModel):
    """A segmentation model; see :class:`ExportedModel`."""

    kind = 'segmentor'

    def __call__(self, image: np.ndarray) -> np.ndarray:
        """The class of each pixel of a picture ``(H, W, 3)`` uint8, RGB.

        The picture is resized as in the test pipeline of the model. Scores are brought back to its size by the code
        that does so for a checkpoint, with the same labels; of labels, each pixel takes the nearest.
        """
        resized = resize_picture(image, self.facts.resize)
        answer = self.run(resized)
        if self.outputs == (SCORES,):
            return self._labels(answer, resized.shape[:2], image.shape[:2])
        kinds = (np.uint8, np.int32)
        if answer.shape != (1, *resized.shape[:2]) or answer.dtype not in kinds or not self._are_classes(answer):
            raise self.refuse_answer(answer)
        if resized.shape != image.shape:
            answer = _nearest(answer, image.shape[:2])
        return answer[0].astype(self._kind)

    @property
    def _kind(self) -> type:
        return np.uint8 if len(self.facts.classes) <= 256 else np.uint16

    def _are_classes(self, labels: np.ndarray) -> bool:
        return 0 <= labels.min() <= labels.max() < max(len(self.facts.classes), 2)

    def _labels(self, scores: np.ndarray, resized: tuple[int, int], size: tuple[int, int]) -> np.ndarray:
        channels = 1 if self.facts.threshold is not None else len(self.facts.classes)
        if scores.ndim != 4 or scores.shape[:2] != (1, channels) or scores.dtype != np.float32:
            raise self.refuse_answer(scores)
        padded = tuple(round_up(side, self.facts.pad_divisor) for side in resized)
        rows = MemoryRows(torch.from_numpy(scores).permute(0, 2, 3, 1))
        rows = ResizedRows(rows, padded, align_corners=self.facts.align_corners)
        head = SimpleNamespace(
            align_corners=self.facts.align_corners, out_channels=channels, threshold=self.facts.threshold
        )
        below, right = (whole - side for whole, side in zip(padded, resized))
        parts = label_rows(head, PictureRows(rows, {'padding_size': (0, right, 0, below)}), size)
        return torch.cat([part[0] for part in parts]).numpy().astype(self._kind)


def _nearest(labels: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    # in integers: a factor in floating point puts some pixels of large pictures into the neighbour
    rows, columns = (np.arange(new) * old // new for new, old in zip(size, labels.shape[1:]))
    return labels[:, rows[:, None], columns]
