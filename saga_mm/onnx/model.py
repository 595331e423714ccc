"""Exported models under ONNX Runtime, behind the same calls as models with weights."""

from __future__ import annotations

import os

import numpy as np

from saga_mm.errors import SagaError
from saga_mm.onnx.file import IMAGE, read_onnx

from .session import open_session, run_session


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
        self.path, self.facts, self.inputs, self.outputs = path, file.facts, file.inputs, file.outputs
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
