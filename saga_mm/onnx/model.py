"""Exported models under ONNX Runtime, behind the same calls as models with weights."""

from __future__ import annotations

import os
from collections.abc import Iterator
from types import SimpleNamespace

import numpy as np
import torch

from saga_mm.errors import SagaError
from saga_mm.onnx.file import IMAGE, SCORES, STRENGTH, read_onnx
from saga_mm.ops import round_up
from saga_mm.rows.device_memory import used_bytes
from saga_mm.tasks.enhancement.strips import ANSWER_BYTES, TALLEST, RgbRows

from .session import open_session, run_session

# what an image takes beyond what was measured at the export, by experience
MARGIN = 1.25


class ExportedModel:
    """A file of ``tools/export.py`` under ONNX Runtime.

    Args:
        path: The file; its operators run, and nothing else of it.
        device: As of :func:`open_session`.

    Attributes:
        facts: What the file says of itself.

    Raises:
        SagaError: The file is not in order or holds another kind of model, or a library or the device is missing.
    """

    kind: str

    def __init__(self, path: str | os.PathLike[str], device: str | None = None) -> None:
        file = read_onnx(path, self.kind)
        self.path, self.facts, self.outputs = path, file.facts, file.outputs
        self._session = open_session(file.content, device, path)

    def run(self, image: np.ndarray, **more: np.ndarray) -> np.ndarray:
        """The first output for an image ``(H, W, 3)`` RGB.

        Raises:
            SagaError: ONNX Runtime fails.
        """
        plane = np.ascontiguousarray(image.transpose(2, 0, 1)[None], np.float32)
        size = f'{self.path} and {image.shape[1]} x {image.shape[0]} pixels'
        answer = run_session(self._session, {IMAGE: plane, **more}, size)[0]
        if not isinstance(answer, np.ndarray):
            raise SagaError(f'{self.path}: gives a {type(answer).__name__}, which no exported {self.kind} does')
        return answer

    def refuse_answer(self, answer: np.ndarray) -> SagaError:
        """The error of an answer that no export of this kind gives."""
        return SagaError(f'{self.path}: gives {answer.dtype} {answer.shape}, which no exported {self.kind} does')


class ExportedEnhancer(ExportedModel):
    """A low-light enhancer, for images that are done in one piece; see :class:`ExportedModel`."""

    kind = 'enhancer'

    def strips(
        self, image: RgbRows, strength: float = 1.0, max_memory: int | None = None, held_bytes: int = 0
    ) -> Iterator[np.ndarray]:
        """As :func:`enhance_strips`, of which the first rows come when the whole image is done.

        Args:
            image: Anything that gives rows.
            strength: 0 gives the image as it is, 1 the model's answer. A file whose strength is a constant takes that
                number alone, or 1, the usual one, for it.
            max_memory: Bytes that the whole program may take; None for no limit.
            held_bytes: What the caller will hold of what is yielded.

        Raises:
            SagaError: The strength is not that of the file, or the memory is too small.
        """
        fixed = self.facts.strength
        if fixed is not None and strength not in (1, fixed):
            raise SagaError(f'--strength {strength:g}: {self.path} was exported with --strength {fixed:g}, for good')
        if fixed is None and strength == 0:
            answer = None
        else:
            self._require_memory(image, max_memory, held_bytes)
            answer = self._answer(image.read(0, image.height), strength)
        rows = min(max(ANSWER_BYTES // (12 * image.width), 1), TALLEST)
        for start in range(0, image.height, rows):
            stop = min(start + rows, image.height)
            yield image.read(start, stop) if answer is None else answer[start:stop]

    def _answer(self, pixels: np.ndarray, strength: float) -> np.ndarray:
        given = {} if self.facts.strength is not None else {STRENGTH: np.array(strength, np.float32)}
        answer = self.run(pixels, **given)
        if answer.shape != (1, 3, *pixels.shape[:2]) or answer.dtype != np.float32:
            raise self.refuse_answer(answer)
        # whatever another file gives becomes pixels
        np.nan_to_num(answer, copy=False).clip(0, 1, out=answer)
        return np.ascontiguousarray(answer[0].transpose(1, 2, 0))

    def _require_memory(self, image: RgbRows, max_memory: int | None, held_bytes: int) -> None:
        if max_memory is None:
            return
        pixels = image.height * image.width
        # the image as it is read, as the graph takes it, and the answer, are all float32 of three channels
        each = MARGIN * self.facts.bytes_per_pixel + 3 * 12
        taken = used_bytes(torch.device('cpu')) + held_bytes + getattr(image, 'held_bytes', 0)
        if taken + each * pixels > max_memory:
            raise SagaError(
                f'--max-memory {max_memory / 2**20:.0f}MB: too little for {image.width} x {image.height} pixels, which '
                f'an exported enhancer does in one piece, with about {(taken + each * pixels) / 2**20:.0f}MB; weights '
                '(--weights base) need less'
            )


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
        from saga_mm.models.openmmlab import ResizedRows, label_rows
        from saga_mm.models.openmmlab.labels import PictureRows
        from saga_mm.rows import MemoryRows

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


def resize_picture(image: np.ndarray, rule: dict | None) -> np.ndarray:
    """A picture resized as mmcv's ``Resize`` with these arguments does it, pixel by pixel."""
    if rule is None:
        return image
    try:
        import mmcv
        from mmcv.image.geometric import _scale_size
    except ImportError as error:
        raise SagaError('this model resizes pictures with mmcv, which is not installed') from error
    scale = rule.get('scale') or _scale_size(image.shape[1::-1], tuple(rule['scale_factor']))
    resize = mmcv.imrescale if rule.get('keep_ratio') else mmcv.imresize
    options = {'interpolation': rule.get('interpolation', 'bilinear'), 'backend': rule.get('backend', 'cv2')}
    return resize(np.ascontiguousarray(image), tuple(scale), **options)


def _nearest(labels: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    rows, columns = (np.arange(new) * old // new for new, old in zip(size, labels.shape[1:]))
    return labels[:, rows[:, None], columns]
