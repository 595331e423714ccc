"""Segmentation of images of any size in strips of rows, within a memory that one chooses."""

from __future__ import annotations

import os
import re
import resource
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Protocol

import numpy as np
import torch

from saga_mm.errors import SagaError
from saga_mm.ops import ImageRows, MemoryTooSmallError

# what the allocator holds beyond what is in use, by experience, and what the program still takes while it runs
USABLE, SLACK = 0.65, 64 * 2**20
UNITS = {'': 1, 'k': 2**10, 'm': 2**20, 'g': 2**30, 't': 2**40}


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
    taken = SLACK + _used_bytes(next(model.parameters()).device) + getattr(image, 'held_bytes', 0)
    memory = float('inf') if max_memory is None else (max_memory - taken) * USABLE
    try:
        runner = plan_segmentor(model, 1, rows.height, rows.width, memory, folder)
    except MemoryTooSmallError as error:
        needed = taken + error.smallest / USABLE
        raise SagaError(
            f'--max-memory {max_memory / 2**20:.0f}MB: too little for {rows.width} x {rows.height} pixels; '
            f'the smallest that works is {needed / 2**20:.0f}MB'
        ) from error
    except ValueError as error:
        raise SagaError(f'this model does not run in strips: {error}') from error
    kind = np.uint8 if model.decode_head.num_classes <= 256 else np.uint16
    with torch.no_grad():
        scores = segment_rows(model, rows, runner)
        for labels in label_rows(model.decode_head, scores, (rows.height, rows.width)):
            yield labels[0].cpu().numpy().astype(kind)


def memory_size(text: str) -> int:
    """Bytes in a size such as ``4GB``, ``512M`` or ``1.5 GiB``; units are powers of 1024.

    Raises:
        SagaError: It is no size.
    """
    match = re.fullmatch(r'\s*(\d+(?:\.\d+)?)\s*([kmgt]?)(?:i?b)?\s*', text.lower())
    if match is None or float(match[1]) == 0:
        raise SagaError(f'--max-memory {text}: is no size; write for example 4GB or 800MB')
    return int(float(match[1]) * UNITS[match[2]])


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


def _used_bytes(device: torch.device) -> int:
    """What the program holds now."""
    if device.type == 'cuda':
        return torch.cuda.memory_allocated(device)
    try:
        return int(Path('/proc/self/statm').read_text().split()[1]) * os.sysconf('SC_PAGE_SIZE')
    except (OSError, IndexError, ValueError):
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        return peak if sys.platform == 'darwin' else peak * 1024
