"""Batches of pictures of several sizes, padded below and to the right.

Padding would be read by global attention and move position tables. It is not computed: pictures of one size run
together without it, and their maps are put into maps of zeros. So a picture's maps do not depend on its batch.
"""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm

from saga_mm.models.attention import TokenMixer, WindowAttention
from saga_mm.ops import captures_graph, ceil_div

Size = tuple[int, int]


class Batch(NamedTuple):
    """Rows and columns of the pictures of a batch, and of the batch itself, in pixels."""

    sizes: Sequence[Size]
    shape: Size


_BATCH: ContextVar[Batch | None] = ContextVar('the batch that a model of the stack was given', default=None)


def picture_sizes(images: torch.Tensor, sizes: Sequence[Size] | None = None) -> list[Size] | None:
    """The sizes of the pictures in a padded batch ``(B, C, H, W)``; None where they fill it.

    Args:
        images: The batch.
        sizes: Rows and columns of each picture; None for those in the data samples of the stack's model that runs.

    Raises:
        ValueError: If ``sizes`` do not fit the batch.
    """
    shape = tuple(images.shape[2:])
    if sizes is None:
        batch = _running()
        if batch is None or len(batch.sizes) != len(images) or batch.shape != shape:
            return None
        sizes = batch.sizes
    return _checked(sizes, len(images), shape)


def level_sizes(maps: Sequence[torch.Tensor], sizes: Sequence[Size] | None = None) -> list[list[Size]] | None:
    """The sizes of the pictures in each map ``(B, C, H, W)`` of a padded batch; None where they fill it.

    Strides are powers of two, and the smallest that fit.

    Args:
        maps: The maps, of any strides.
        sizes: Rows and columns of each picture in pixels, the largest of which fills more than half of a side of the
            batch; None as of :func:`picture_sizes`.

    Raises:
        ValueError: If ``sizes`` do not fit the maps.
    """
    batch = _running() if sizes is None else Batch(sizes, tuple(map(max, zip(*sizes))))
    if batch is None or any(len(batch.sizes) != len(x) for x in maps):
        if sizes is not None:
            raise ValueError(f'{len(sizes)} sizes were given for maps of {len(maps[0])} pictures')
        return None
    levels = []
    for x in maps:
        shape, stride = tuple(x.shape[2:]), 1
        while any(ceil_div(side, stride) > room for side, room in zip(batch.shape, shape)):
            # sides round up at each stride, so that the side of a map does not give its stride by division
            stride *= 2
        if sizes is None and _coarser(batch.shape, stride) != shape:
            return None
        levels.append([_coarser(size, stride) for size in batch.sizes])
    return None if all({*level} == {tuple(x.shape[2:])} for level, x in zip(levels, maps)) else levels


def by_size(
    function: Callable[[list[torch.Tensor]], Sequence[torch.Tensor]],
    maps: Sequence[torch.Tensor],
    sizes: Sequence[Sequence[Size]],
    shapes: Sequence[Size] | None = None,
) -> tuple[torch.Tensor, ...] | None:
    """Apply a function to the pictures of each size by themselves, without their padding.

    Args:
        function: From maps ``(n, C, h, w)`` of pictures of one size to maps.
        maps: Padded maps ``(B, C, H, W)``.
        sizes: For each map, rows and columns of each picture.
        shapes: Rows and columns of each map of the result; None to find them for maps whose strides, counted from the
            first map, are powers of two.

    Returns:
        Maps of these shapes, zero beside the pictures. None where no shapes are found.
    """
    # a size at each level: pictures that are alike at a coarse one may differ at a fine one
    groups: dict[tuple[Size, ...], list[int]] = {}
    for i, key in enumerate(zip(*sizes, strict=True)):
        groups.setdefault(key, []).append(i)
    parts = []
    # what is inside sees pictures that fill their batch
    with given_batch(None):
        for key, index in groups.items():
            # of neighbours a view, not a copy
            chosen = slice(index[0], index[-1] + 1) if index[-1] - index[0] < len(index) else index
            cut = [x[chosen, :, :height, :width] for x, (height, width) in zip(maps, key, strict=True)]
            parts.append(function(cut))
    if shapes is None:
        if not all(isinstance(outs, list | tuple) and all(map(_is_map, outs)) for outs in parts):
            return None
        found = [[tuple(out.shape[2:]) for out in outs] for outs in zip(*parts)]
        shapes = found_shapes([key[0] for key in groups], found, tuple(maps[0].shape[2:]))
        if shapes is None:
            return None
    # zeros, not what layers make of padding: no neighbour in the batch may change a picture's map
    parts = [[pad_map(out, shape) for out, shape in zip(outs, shapes, strict=True)] for outs in parts]
    joined = (torch.cat(pieces) if len(pieces) > 1 else pieces[0] for pieces in zip(*parts))
    # back in the order of the batch
    order = [i for index in groups.values() for i in index]
    if order == sorted(order):
        return tuple(joined)
    return tuple(x[sorted(order, key=order.__getitem__)] for x in joined)


def found_shapes(sizes: Sequence[Size], found: Sequence[Sequence[Size]], shape: Size) -> list[Size] | None:
    """Shapes of the maps of a padded image, by those of its pictures; None where no strides are powers of two.

    Args:
        sizes: Rows and columns of pictures.
        found: For each map, its rows and columns for each of the pictures.
        shape: Rows and columns of the padded image.
    """
    shapes, stride = [], 0
    for level in found:
        # of a single token all larger strides would do: as in a pyramid, it is then twice that before
        stride = 2 * stride or 1 if {*level} == {(1, 1)} else 1
        while any(ceil_div(n, stride) > m for size, out in zip(sizes, level) for n, m in zip(size, out)):
            stride *= 2
        if coarser(sizes, stride) != list(level):
            return None
        shapes.append(_coarser(shape, stride))
    return shapes


def _is_map(x: Any) -> bool:
    return isinstance(x, torch.Tensor) and x.ndim == 4


def pad_map(x: torch.Tensor, shape: Size) -> torch.Tensor:
    """A map ``(B, C, h, w)`` with zeros below and to the right, ``(B, C, H, W)`` for a shape of ``(H, W)``."""
    return F.pad(x, (0, shape[1] - x.shape[3], 0, shape[0] - x.shape[2]))


def reads_padding(module: nn.Module) -> bool:
    """Whether padding would reach all of a picture: by attention beyond windows, which stay as published."""
    return any(isinstance(part, TokenMixer) and not isinstance(part, WindowAttention) for part in module.modules())


def trains_batch_norm(module: nn.Module) -> bool:
    """Whether a batch norm in it takes its statistics from the batch, which it has to see in one piece."""
    return any(isinstance(part, _BatchNorm) and part.training for part in module.modules())


def coarser(sizes: Sequence[Size], stride: int) -> list[Size]:
    """Sizes of pictures in a map of a stride, of those in the map that it was made of; they round up."""
    return [_coarser(size, stride) for size in sizes]


@contextmanager
def given_batch(batch: Batch | None) -> Iterator[None]:
    """Have what runs inside take the sizes of its pictures from a batch; None for pictures that fill theirs."""
    if torch.compiler.is_compiling():
        yield
        return
    # a context variable, since the stack passes no argument through; threads have one each
    token = _BATCH.set(batch)
    try:
        yield
    finally:
        _BATCH.reset(token)


def _running() -> Batch | None:
    return None if captures_graph() else _BATCH.get()


def _checked(sizes: Sequence[Size], count: int, shape: Size) -> list[Size] | None:
    sizes = [tuple(int(side) for side in size) for size in sizes]
    if len(sizes) != count or not all(len(size) == 2 and fits_inside(size, shape) for size in sizes):
        raise ValueError(f'sizes={sizes} must be rows and columns of {count} pictures within {shape}')
    return None if {*sizes} == {shape} else sizes


def fits_inside(size: Size, shape: Size) -> bool:
    """Whether a picture of this size can lie in a batch of that shape."""
    return all(0 < side <= room for side, room in zip(size, shape))


def _coarser(size: Size, stride: int) -> Size:
    return tuple(ceil_div(side, stride) for side in size)
