"""An exported enhancer under ONNX Runtime, with the interface of a model with weights."""

from __future__ import annotations

import json
from collections.abc import Iterator

import numpy as np
import torch

from saga_mm.errors import ArgumentError
from saga_mm.models.enhancement.finish import AS_IT_IS, Finish, finish_image
from saga_mm.onnx.file import BRIGHTNESS, STRENGTH
from saga_mm.onnx.model import ExportedModel
from saga_mm.rows.device_memory import used_bytes
from saga_mm.tasks.enhancement.strips import ANSWER_BYTES, TALLEST, RgbRows

# what an image takes beyond what was measured at the export, by experience
MARGIN = 1.25


class ExportedEnhancer(ExportedModel):
    """A low-light enhancer, for images that are done in one piece; see :class:`ExportedModel`."""

    kind = 'enhancer'

    def strips(
        self, image: RgbRows, finish: Finish = AS_IT_IS, max_memory: int | None = None, held_bytes: int = 0
    ) -> Iterator[np.ndarray]:
        """As :func:`enhance_strips`, of which the first rows come when the whole image is done.

        Args:
            image: Anything that gives rows.
            finish: Strength, brightness and denoising. A file whose strength is a constant takes only that
                strength, or 1, the usual one, for it, and neither brightness nor denoise.
            max_memory: Bytes that the whole program may take; None for no limit.
            held_bytes: What the caller will hold of what is yielded.

        Raises:
            SagaError: The file does not have what is asked for, or the memory is too small.
        """
        self._require_choice(finish)
        fixed, strength = self.facts.strength, finish.strength
        if fixed is None and strength == 0:
            answer = None
        else:
            self._require_memory(image, max_memory, held_bytes)
            answer = self._finished(image.read(0, image.height), finish)
        rows = min(max(ANSWER_BYTES // (12 * image.width), 1), TALLEST)
        for start in range(0, image.height, rows):
            stop = min(start + rows, image.height)
            yield image.read(start, stop) if answer is None else answer[start:stop]

    def _finished(self, pixels: np.ndarray, finish: Finish) -> np.ndarray:
        if finish.brightness is None and finish.denoise == 1:
            return self._answer(pixels, finish.strength)
        answer = self._answer(pixels, 1.0, finish.brightness)
        image, answer = (torch.from_numpy(x.transpose(2, 0, 1)[None]) for x in (pixels, answer))
        return finish_image(image, answer, finish)[0].permute(1, 2, 0).contiguous().numpy()

    def _require_choice(self, finish: Finish) -> None:
        fixed = self.facts.strength
        if fixed is not None and finish.strength not in (1, fixed):
            problem = f'{self.path} was exported with the constant strength {fixed:g}'
            raise ArgumentError('strength', f'{finish.strength:g}', problem)
        for name, value in (('brightness', finish.brightness), ('denoise', finish.denoise)):
            if fixed is not None and value not in (None, 1):
                problem = f'{self.path} was exported with a constant strength; export it without --strength'
                raise ArgumentError(name, f'{value:g}', problem)
        if finish.brightness is not None and self._exposes() and BRIGHTNESS not in self.inputs:
            problem = f'{self.path} has no such input, as written before saga_mm had it; export it anew'
            raise ArgumentError('brightness', f'{finish.brightness:g}', problem)

    def _exposes(self) -> bool:
        try:
            config = json.loads(self.facts.model)
        except (ValueError, RecursionError):
            return False
        return isinstance(config, dict) and bool(config.get('exposure'))

    def _answer(self, pixels: np.ndarray, strength: float, brightness: float | None = None) -> np.ndarray:
        values = {STRENGTH: strength, BRIGHTNESS: brightness or 0}
        given = {name: np.array(value, np.float32) for name, value in values.items() if name in self.inputs}
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
            raise ArgumentError(
                'max_memory',
                f'{max_memory / 2**20:.0f}MB',
                f'too little for {image.width} x {image.height} pixels: an exported enhancer computes the whole image '
                f'at once, in about {(taken + each * pixels) / 2**20:.0f}MB; a checkpoint (weights base) runs in '
                'strips and needs less',
            )
