"""Segmentation of images of any size in strips of rows, within a memory that one chooses."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Protocol

import numpy as np
import torch

from saga_mm.errors import SagaError
from saga_mm.ops import ImageRows, MemoryTooSmallError, RowRunner, Rows

from .memory import keep_below, used_bytes

# what the allocator holds beyond what is in use, by experience, and what the program still takes while it runs
USABLE, SLACK = 0.65, 64 * 2**20


class BgrRows(Protocol):
    """An image that is asked for by rows, such as :func:`saga_mm.datasets.large_image.open_rows` gives."""

    height: int
    width: int

    def read(self, start: int, stop: int) -> np.ndarray:
        """Rows ``[start, stop)`` as ``(rows, width, 3)`` uint8, BGR."""


class ArrayRows:
    """An image in memory, ``(H, W, 3)`` uint8, RGB."""

    def __init__(self, image: np.ndarray) -> None:
        self.image = image
        self.height, self.width = image.shape[:2]

    def read(self, start: int, stop: int) -> np.ndarray:
        return self.image[start:stop, :, ::-1]


def segment_strips(
    model: torch.nn.Module, image: BgrRows | np.ndarray, max_memory: int | None = None, folder: str | Path | None = None
) -> Iterator[np.ndarray]:
    """Segment an image at its own size, exactly as in one piece.

    Args:
        model: An ``EncoderDecoder`` of mmseg's with a backbone of saga_mm's, in evaluation mode.
        image: An array ``(H, W, 3)`` uint8, RGB, or anything that gives rows of one, which may be larger than memory.
        max_memory: Bytes that the whole program may take, weights and libraries included (on a GPU: of its memory);
            None for as many as are useful.
        folder: Where maps go that do not fit; None for the system's folder for temporary files.

    Yields:
        Labels ``(rows, W)`` of the next rows from the top: uint8, or uint16 for more than 256 classes.

    Raises:
        SagaError: A part of the model does not run in strips, or the memory is too small: then it says how much is not.
    """
    from saga_mm.models.strips import label_rows, plan_segmentor, segment_rows

    rows = prepare_rows(image, model)
    runner = plan_within(
        lambda memory: plan_segmentor(model, 1, rows.height, rows.width, memory, folder),
        rows,
        next(model.parameters()).device,
        max_memory,
        getattr(image, 'held_bytes', 0),
    )
    kind = np.uint8 if model.decode_head.num_classes <= 256 else np.uint16
    with torch.no_grad():
        scores = segment_rows(model, rows, runner)
        for labels in label_rows(model.decode_head, scores, (rows.height, rows.width)):
            yield labels[0].cpu().numpy().astype(kind)


def plan_within(
    plan: Callable[[float], RowRunner], image: Rows, device: torch.device, max_memory: int | None, held_bytes: int = 0
) -> RowRunner:
    """A runner within what is left of the memory that a user allows the program.

    Args:
        plan: From bytes for maps and computation to a runner.
        image: The image that will be run, for its size.
        device: Where the model is.
        max_memory: Bytes that the whole program may take (on a GPU: of its memory); None for as many as are useful.
        held_bytes: What the program will hold beside the model's maps and does not hold yet.

    Raises:
        SagaError: A part of the model does not run in strips, or the memory is too small: then it says how much is not.
    """
    taken = SLACK + used_bytes(device) + held_bytes
    memory = math.inf if max_memory is None else (max_memory - taken) * USABLE
    try:
        runner = plan(memory)
    except MemoryTooSmallError as error:
        needed = (taken + error.smallest / USABLE) / 2**20
        raise SagaError(
            f'--max-memory {max_memory / 2**20:.0f}MB: too little for {image.width} x {image.height} pixels; '
            # a program does not hold the same to the megabyte when it is run again
            f'the smallest that works is {math.ceil(needed / 10 + 0.5) * 10}MB'
        ) from error
    except ValueError as error:
        raise SagaError(f'this model does not run in strips: {error}') from error
    if max_memory is not None:
        # states that stay, small and many, pin what was freed around them
        runner.relieve = partial(keep_below, (taken + memory + max_memory) / 2, device)
    return runner


def prepare_rows(image: BgrRows | np.ndarray, model: torch.nn.Module) -> ImageRows:
    """An image as the model's own data preprocessor gives it, to be asked for rows.

    Raises:
        SagaError: The preprocessor pads images.
    """
    if getattr(model.data_preprocessor, 'test_cfg', None):
        raise SagaError('data_preprocessor.test_cfg pads images, which is not done in strips: set it to None')
    source = ArrayRows(image) if isinstance(image, np.ndarray) else image
    device = next(model.parameters()).device

    def read(start: int, stop: int) -> torch.Tensor:
        plane = torch.from_numpy(np.ascontiguousarray(source.read(start, stop).transpose(2, 0, 1))).to(device)
        return model.data_preprocessor({'inputs': [plane], 'data_samples': None}, False)['inputs']

    return ImageRows(read, source.height, source.width)
