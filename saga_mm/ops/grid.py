"""Tokens and the map they came from."""

from typing import NamedTuple

import torch
import torch.nn.functional as F


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
    pad_h, pad_w = -x.shape[2] % multiple, -x.shape[3] % multiple
    return F.pad(x, (0, pad_w, 0, pad_h)) if pad_h or pad_w else x
