"""Resize and pool maps for a range of rows at a time."""

import struct
from collections.abc import Callable, Sequence

import torch
import torch.nn.functional as F

from .capture import known_equal
from .grid import Grid, map_to_tokens, tokens_to_map
from .positions import position_dependent
from .precision import wide


def resize_rows(
    read: Callable[[int, int], torch.Tensor],
    in_size: tuple[int, int],
    out_size: tuple[int, int],
    start: int,
    stop: int,
    align_corners: bool = False,
) -> torch.Tensor:
    """Rows ``start`` to ``stop`` of a whole map's bilinear resize, from the few rows of it that they depend on.

    Coordinates are those of the whole maps, so rows come out as ``F.interpolate(map, out_size, mode='bilinear')`` has
    them, up to rounding.

    Args:
        read: Gives rows ``[first, last)`` of the map as ``(B, C, last - first, in_size[1])``.
        in_size: ``(H, W)`` of the map.
        out_size: ``(H, W)`` of the resized map.
        start: First row of the result, counted in the resized map.
        stop: Row after the last.
        align_corners: As in ``F.interpolate``.

    Returns:
        ``(B, C, stop - start, out_size[1])``.
    """
    height, rows = in_size[0], stop - start
    first, last = resize_span(height, out_size[0], start, stop, align_corners)
    plane = read(first, last)
    if rows == out_size[0]:
        return F.interpolate(plane, out_size, mode='bilinear', align_corners=align_corners)
    source = _sources(height, out_size[0], start, stop, plane, align_corners)
    # towards zero, which is down: sources are not negative
    above = source.long()
    below = (above + 1).clamp(max=height - 1)
    share = (source - above).to(plane.dtype).view(-1, 1)
    # index_select forgets the order that a map had
    order = torch.channels_last if plane.shape[1] > 1 and plane.stride(1) == 1 else torch.contiguous_format
    plane = plane.index_select(2, above - first).lerp(plane.index_select(2, below - first), share)
    plane = plane.contiguous(memory_format=order)
    return F.interpolate(plane, (rows, out_size[1]), mode='bilinear', align_corners=align_corners)


def resize_span(size: int, out: int, start: int, stop: int, align_corners: bool = False) -> tuple[int, int]:
    """Of ``size`` rows, the first and the one after the last that rows ``[start, stop)`` of ``out`` depend on."""
    if stop - start == out:
        return 0, size
    # rounding may put a row's source one row off: one more on each side
    scale, shift = _scale(size, out, align_corners)
    return min(max(int(scale * (start + shift) - shift) - 1, 0), size - 1), min(int(scale * (stop + shift)) + 3, size)


def _scale(size: int, out: int, align_corners: bool) -> tuple[float, float]:
    if align_corners:
        return ((size - 1) / (out - 1) if out > 1 else 0.0), 0.0
    return size / out, 0.5


def _sources(
    size: int, out: int, start: int, stop: int, like: torch.Tensor, align_corners: bool = False
) -> torch.Tensor:
    """Where rows ``start`` to ``stop`` of ``out`` lie among ``size`` rows, as ``F.interpolate`` finds it."""
    scale, shift = _scale(size, out, align_corners)
    kind = torch.promote_types(like.dtype, torch.float32)
    if kind == torch.float32:
        # F.interpolate rounds the scale, and a row's source once more after one fused multiplication and addition
        scale = struct.unpack('f', struct.pack('f', scale))[0]
    at = torch.arange(start, stop, dtype=torch.float64)
    return ((at + shift) * scale - shift).to(like.device, kind).clamp(0, size - 1)


@position_dependent
def resize_table(table: torch.Tensor, size: tuple[int, int], grid: Grid) -> torch.Tensor:
    """Fit a learned position table to a map, bilinearly; at the table's own size nothing is computed.

    Args:
        table: ``(1, h * w, C)``.
        size: The ``(h, w)`` that the table was made for.
        grid: Where the tokens stand; the rows of a strip are those of the table of the whole map.

    Returns:
        ``(1, rows * width, C)``.
    """
    if known_equal(size, grid[:2]):
        # nothing to compute: a view, so that weights of the table's own size are neither copied nor rounded
        return table if grid.rows == grid.height else table[:, grid.start * grid.width : grid.stop * grid.width]
    plane = table.unflatten(1, size).permute(0, 3, 1, 2)
    return map_to_tokens(resize_rows(lambda i, j: plane[:, :, i:j], size, grid[:2], grid.start, grid.stop))


class RowPool:
    """``F.adaptive_avg_pool2d`` of a whole map as a state: strips are written, states add up, the sum is the answer.

    Args:
        size: ``(H, W)`` of the pooled map.
    """

    def __init__(self, size: int | tuple[int, int]) -> None:
        self.size = (size, size) if isinstance(size, int) else tuple(size)

    def write(self, x: torch.Tensor, grid: Grid) -> torch.Tensor:
        """What the tokens ``x``, ``(B, N, C)``, at ``grid`` add to the pooled map, ``(B, C, *size)``."""
        rows, columns = self.size
        # rows stay as they are: each is pooled over its columns alone
        plane = F.adaptive_avg_pool2d(wide(tokens_to_map(x, grid)), (grid.rows, columns))
        out = plane.new_zeros(*plane.shape[:2], rows, columns)
        # windows overlap where the sides are no multiples: a row may count in two of them
        for i in range(rows):
            first, last = i * grid.height // rows, -(-(i + 1) * grid.height // rows)
            top, bottom = max(first, grid.start), min(last, grid.stop)
            if top < bottom:
                out[:, :, i] = plane[:, :, top - grid.start : bottom - grid.start].sum(2) / (last - first)
        return out

    @staticmethod
    def merge(states: Sequence[torch.Tensor]) -> torch.Tensor:
        """The pooled map of all strips, at least in float32."""
        return sum(states[1:], states[0])
