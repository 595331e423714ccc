"""Tokens and the map they came from."""

from collections.abc import Sequence
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch.fx.experimental.symbolic_shapes import statically_known_true


class Grid(NamedTuple):
    """The whole map's size, and the rows of it that a piece of tokens covers.

    Attributes:
        height: Rows of the whole map.
        width: Columns of the whole map and of the piece.
        start: First row of the piece, counted in the whole map.
        stop: Row after the piece's last.
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
        """Rows that the piece covers."""
        return self.stop - self.start


def tokens_to_map(x: torch.Tensor, grid: Grid) -> torch.Tensor:
    """Tokens ``(B, rows * width, C)`` in raster order as a map ``(B, C, rows, width)``: a view, channels last."""
    return x.unflatten(1, (grid.rows, grid.width)).permute(0, 3, 1, 2)


def map_to_tokens(x: torch.Tensor) -> torch.Tensor:
    """A map ``(B, C, H, W)`` as tokens ``(B, H * W, C)``."""
    return x.flatten(2).transpose(1, 2)


def pad_to_multiple(x: torch.Tensor, multiple: int) -> torch.Tensor:
    """Pad a map ``(B, C, H, W)`` with zeros below and to the right, so that ``multiple`` divides both sides."""
    pad_h, pad_w = (round_up(side, multiple) - side for side in x.shape[2:])
    # a graph for maps of any size pads them all
    return x if known_equal((pad_h, pad_w), (0, 0)) else F.pad(x, (0, pad_w, 0, pad_h))


def round_up(number: int, multiple: int) -> int:
    """The next multiple that is not less than ``number``."""
    # not of a negative number, which exported graphs divide in another way
    return (number + multiple - 1) // multiple * multiple


def known_equal(one: Sequence[int], other: Sequence[int]) -> bool:
    """Whether numbers are equal; False where that depends on the size of a map and a graph for any size is captured.

    Asking in the usual way would make it a graph of those sizes alone for which the answer is the same.
    """
    equal = [a == b for a, b in zip(one, other, strict=True)]
    # torch.jit.trace makes tensors of sizes
    return all(bool(each) if isinstance(each, torch.Tensor) else statically_known_true(each) for each in equal)
