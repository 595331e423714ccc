"""Enhance images of any size in strips of rows, within a memory budget."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Protocol

import numpy as np
import torch

from saga_mm.models.enhancement import LowLightEnhancer
from saga_mm.models.enhancement.enhancer_rows import enhance_rows, enhancer_parts
from saga_mm.models.enhancement.finish import AS_IT_IS, Finish
from saga_mm.rows import ImageRows, MemoryBudget
from saga_mm.tasks.strip_parts import parts_in_strips

# of the rows that are answered at a time: bytes that they take, numbers alive for each pixel, and the most of them
ANSWER_BYTES, ANSWER_FLOATS, TALLEST = 2**24, 40, 64


class RgbRows(Protocol):
    """An image that is asked for by rows, such as :class:`saga_mm.images.photo.PhotoRows`."""

    height: int
    width: int

    def read(self, start: int, stop: int) -> np.ndarray:
        """Rows ``[start, stop)`` as ``(rows, width, 3)`` float32, RGB in [0, 1]."""


def enhance_strips(
    model: LowLightEnhancer,
    image: RgbRows,
    finish: Finish = AS_IT_IS,
    max_memory: int | MemoryBudget | None = None,
    folder: str | Path | None = None,
    held_bytes: int = 0,
) -> Iterator[np.ndarray]:
    """Enhance an image at its own size, as in one piece: where memory allows, its maps never leave memory.

    Args:
        model: The model, in evaluation mode.
        image: Anything that gives rows; they are asked for from top to bottom, several times.
        finish: Strength, brightness and denoising.
        max_memory: Bytes that the whole program may take, weights and libraries included (on a GPU: of its memory);
            None for half of what is free; or a budget, which explains afterwards how the image was run.
        folder: Where maps go that do not fit; None for the system's folder for temporary files.
        held_bytes: What the caller will hold of what is yielded.

    Yields:
        The next rows from the top, ``(rows, W, 3)`` float32, RGB in [0, 1].

    Raises:
        SagaError: A part of the model does not run in strips, or the memory is too small: then it says how much is not.
    """
    height, width = image.height, image.width
    rows, answer_bytes = rows_at_once(width)
    cuts = [(start, min(start + rows, height)) for start in range(0, height, rows)]
    if finish.strength == 0:
        yield from (image.read(*cut) for cut in cuts)
        return
    device = next(model.parameters()).device
    source = read_source(image, device)
    held = held_bytes + getattr(image, 'held_bytes', 0) + answer_bytes
    parts, budget = parts_in_strips(enhancer_parts, model, height, width), MemoryBudget.of(model, max_memory)
    # the whole image beside the answer
    if budget.engine.name != 'torch' and budget.takes_whole(parts, held=held + 4 * 12 * height * width):
        answer = model.enhance(source.plane(0, height), *finish)[0].permute(1, 2, 0).contiguous().cpu().numpy()
        yield from (answer[start:stop] for start, stop in cuts)
        return
    answer = enhance_rows(model, source, budget.plan(parts, source, held, folder), finish)
    for cut in cuts:
        yield answer.plane(*cut)[0].permute(1, 2, 0).contiguous().cpu().numpy()


def rows_at_once(width: int) -> tuple[int, int]:
    """Rows that are answered at a time, and bytes that they take while they are."""
    row_bytes = 4 * ANSWER_FLOATS * width
    rows = min(max(ANSWER_BYTES // row_bytes, 1), TALLEST)
    return rows, rows * row_bytes


def read_source(image: RgbRows, device: torch.device) -> ImageRows:
    """The image as the model takes it; rows that are asked for twice in a row are read once."""
    last: dict[tuple[int, int], torch.Tensor] = {}

    def read(start: int, stop: int) -> torch.Tensor:
        if (start, stop) not in last:
            plane = torch.from_numpy(np.ascontiguousarray(image.read(start, stop))).permute(2, 0, 1)[None]
            last.clear()
            last[start, stop] = plane.to(device)
        return last[start, stop]

    return ImageRows(read, image.height, image.width)
