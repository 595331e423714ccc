"""Segment images of any size in strips of rows, within a memory budget."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Protocol

import numpy as np
import torch

from saga_mm.errors import SagaError
from saga_mm.images.given import rgb_picture
from saga_mm.models.openmmlab import label_rows, segment_rows, segmentor_parts
from saga_mm.rows import ImageRows, MemoryBudget
from saga_mm.tasks.strip_parts import parts_in_strips


class BgrRows(Protocol):
    """An image that is asked for by rows, such as :func:`saga_mm.images.large.open_rows` gives."""

    height: int
    width: int

    def read(self, start: int, stop: int) -> np.ndarray:
        """Rows ``[start, stop)`` as ``(rows, width, 3)`` uint8, BGR."""


class ArrayRows:
    """An image in memory, an array as of :func:`saga_mm.images.given.rgb_picture`."""

    def __init__(self, image: np.ndarray) -> None:
        self.image = rgb_picture(image)
        self.height, self.width = image.shape[:2]

    def read(self, start: int, stop: int) -> np.ndarray:
        return self.image[start:stop, :, ::-1]


def segment_strips(
    model: torch.nn.Module,
    image: BgrRows | np.ndarray,
    max_memory: int | MemoryBudget | None = None,
    folder: str | Path | None = None,
    held_bytes: int = 0,
) -> Iterator[np.ndarray]:
    """Segment an image at its own size, exactly as in one piece.

    Args:
        model: An ``EncoderDecoder`` of mmseg's with a backbone of saga_mm's, in evaluation mode.
        image: An array ``(H, W, 3)`` uint8, RGB, and the other arrays that :func:`saga_mm.images.given.rgb_picture`
            takes; or anything that gives rows of one, which may be larger than memory.
        max_memory: Bytes that the whole program may take, weights and libraries included (on a GPU: of its memory);
            None for half of what is free; or a budget, which explains afterwards how the image was run.
        folder: Where maps go that do not fit; None for the system's folder for temporary files.
        held_bytes: What the caller will hold of what is yielded.

    Yields:
        Labels ``(rows, W)`` of the next rows from the top: uint8, or uint16 for more than 256 classes.

    Raises:
        SagaError: A part of the model does not run in strips, or the memory is too small: then it says how much is not.
    """
    rows = prepare_rows(image, model)
    parts = parts_in_strips(segmentor_parts, model, rows.height, rows.width)
    # readers of some formats hold what they have decoded, which the plan has to leave room for
    held = held_bytes + getattr(image, 'held_bytes', 0)
    runner = MemoryBudget.of(model, max_memory).plan(parts, rows, held, folder)
    with torch.no_grad():
        scores = segment_rows(model, rows, runner)
        for labels in label_rows(model.decode_head, scores, (rows.height, rows.width)):
            # the type that is saved: whoever keeps the map of a large picture holds no int64
            yield labels[0].cpu().numpy().astype(label_type(model))


def label_type(model: torch.nn.Module) -> type[np.unsignedinteger]:
    """The type of a segmentor's labels."""
    return np.uint8 if model.decode_head.num_classes <= 256 else np.uint16


def prepare_rows(image: BgrRows | np.ndarray, model: torch.nn.Module) -> ImageRows:
    """An image as the model's own data preprocessor gives it, to be asked for rows.

    Raises:
        SagaError: The preprocessor pads images.
    """
    if getattr(model.data_preprocessor, 'test_cfg', None):
        raise SagaError('data_preprocessor.test_cfg pads images, which is not done in strips: set it to None')
    source = image if hasattr(image, 'read') else ArrayRows(image)
    device = next(model.parameters()).device

    def read(start: int, stop: int) -> torch.Tensor:
        plane = torch.from_numpy(np.ascontiguousarray(source.read(start, stop).transpose(2, 0, 1))).to(device)
        return model.data_preprocessor({'inputs': [plane], 'data_samples': None}, False)['inputs']

    return ImageRows(read, source.height, source.width)
