"""Tokens and the grid of the map that they came from."""

from typing import NamedTuple

import torch
import torch.nn.functional as F

from .capture import captures_graph, known_equal

# tokens that fit a processor's cache together with their copy
COPIED = 2048
COPIED_NUMBERS = 2**18


class Grid(NamedTuple):
    """The size of a whole map, and the rows of it that a strip of tokens covers.

    Attributes:
        height: Rows of the whole map.
        width: Columns of the whole map and of the strip.
        start: First row of the strip, counted in the whole map.
        stop: Row after the strip's last.
    """

    height: int
    width: int
    start: int
    stop: int

    @classmethod
    def whole(cls, height: int, width: int) -> 'Grid':
        """The grid of tokens that cover their map entirely."""
        return cls(height, width, 0, height)

    @property
    def rows(self) -> int:
        """Rows that the strip covers."""
        return self.stop - self.start


def tokens_to_map(x: torch.Tensor, grid: Grid) -> torch.Tensor:
    """Tokens ``(B, rows * width, C)`` in raster order as a map ``(B, C, rows, width)``: a view, channels last."""
    return x.unflatten(1, (grid.rows, grid.width)).permute(0, 3, 1, 2)


def map_to_tokens(x: torch.Tensor) -> torch.Tensor:
    """A map ``(B, C, H, W)`` as tokens ``(B, H * W, C)``: a view of a map that lies channels last, otherwise a copy."""
    return x.permute(0, 2, 3, 1).flatten(1, 2)


def repeat_edges(x: torch.Tensor, grid: Grid, times: int) -> tuple[torch.Tensor, Grid]:
    """Tokens with the outermost rows and columns of their strip repeated beyond it, and the grid of all of them."""
    plane = x.unflatten(1, (grid.rows, grid.width))
    # as tokens lie: the channels are a third side to pad, by nothing
    padded = F.pad(plane[None], (0, 0, *[times] * 4), mode='replicate')[0]
    more = 2 * times
    return padded.flatten(1, 2), Grid(grid.height + more, grid.width + more, grid.start, grid.stop + more)


def contiguous_map(x: torch.Tensor) -> torch.Tensor:
    """A map ``(B, C, H, W)`` in this order in memory: itself, or a copy."""
    if x.is_contiguous() or x.requires_grad or captures_graph():
        return x.contiguous()
    return copy_map(x, torch.empty_like(x, memory_format=torch.contiguous_format))


def copy_map(x: torch.Tensor, out: torch.Tensor) -> torch.Tensor:
    """Copy a map ``(B, C, H, W)`` to another, rows by rows: where their orders differ, a cache holds both."""
    tokens = min(COPIED, COPIED_NUMBERS // x.shape[1])
    rows = max(tokens // x.shape[-1], 1) if x.device.type == 'cpu' else x.shape[2]
    for source, target in zip(x.split(rows, 2), out.split(rows, 2), strict=True):
        target.copy_(source)
    return out


def pad_to_multiple(x: torch.Tensor, multiple: int) -> torch.Tensor:
    """Pad a map ``(B, C, H, W)`` with zeros below and to the right, so that ``multiple`` divides both sides."""
    pad_h, pad_w = (round_up(side, multiple) - side for side in x.shape[2:])
    # a graph for maps of any size pads them all
    return x if known_equal((pad_h, pad_w), (0, 0)) else F.pad(x, (0, pad_w, 0, pad_h))


def ceil_div(number: int, divisor: int) -> int:
    """The quotient, rounded up."""
    # not -(-number // divisor): exported graphs round the quotient of a negative number towards zero
    return (number + divisor - 1) // divisor


def round_up(number: int, multiple: int) -> int:
    """The next multiple that is not less than ``number``."""
    return ceil_div(number, multiple) * multiple


def smaller(one: int, other: int) -> int:
    """The smaller of two sides of maps, also where a graph for any size is captured."""
    if isinstance(one, torch.Tensor) or isinstance(other, torch.Tensor):
        return torch.minimum(torch.as_tensor(one), torch.as_tensor(other))
    return torch.sym_min(one, other)


def larger(one: int, other: int) -> int:
    """The larger of two sides of maps, as :func:`smaller`."""
    return -smaller(-one, -other)
