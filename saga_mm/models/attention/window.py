"""Softmax attention within shifted windows, with relative position bias (Swin, Liu et al., ICCV 2021)."""

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import nn

from saga_mm.models.init import init_weights
from saga_mm.ops import Grid, captures_graph, known_equal, larger, pad_to_multiple, smaller, tokens_to_map
from saga_mm.registry import MODELS

from .token_mixer import TokenMixer, project_parts

BORDERS = ('masked', 'mmdet')


@MODELS.register_module(name=['WindowAttention', 'window'])
class WindowAttention(TokenMixer):
    """``softmax(q k^T / sqrt(d) + bias) v`` within windows of ``window_size x window_size`` tokens.

    Maps of any size are padded below and to the right to whole windows. There is no state: a window is all that its
    tokens see, so ``write`` gives None and ``read`` does the work.

    Args:
        embed_dims: Channels C.
        num_heads: Heads; must divide C.
        qkv_bias: Biases in the projections of q, k and v.
        window_size: Side of a window, in tokens.
        shift: Tokens by which the windows are moved down and to the right, less than ``window_size``. What is cut off
            at one edge shares windows with what is left over at the other and is masked from it.
        borders: ``'masked'`` lets no token see the padding, and does not shift along a side that one window covers,
            as the published classifiers do. ``'mmdet'`` is what mmdet and the published detectors do: tokens attend
            to zeros in the padding, and windows are always shifted. Both are the same where ``window_size`` divides a
            map of more than one window.
        init_cfg: Initialisation config of mmengine.

    Attributes:
        row_multiple: A strip of a map must start at a row that this divides, and stop at one or at the map's end.
        halo: As of :class:`TokenMixer`; 0 for windows that are not shifted, otherwise a whole window.

    Raises:
        ValueError: If an option is unknown or out of range.
    """

    takes = frozenset({'qkv_bias', 'window_size', 'shift'})
    sweeps = 0

    def __init__(
        self,
        embed_dims: int,
        num_heads: int,
        qkv_bias: bool = True,
        window_size: int = 7,
        shift: int = 0,
        borders: str = 'masked',
        init_cfg: dict | None = None,
    ) -> None:
        super().__init__(init_cfg)
        if not 0 <= shift < window_size:
            raise ValueError(f'shift={shift} must be at least 0 and less than window_size={window_size}')
        if borders not in BORDERS:
            raise ValueError(f'unknown borders={borders!r}; choose one of {", ".join(BORDERS)}')
        self.window_size, self.shift, self.borders = window_size, shift, borders
        self.row_multiple = window_size
        self.halo = window_size if shift else 0
        # masks differ between heads and windows
        self.peak_floats_per_channel += 3 * num_heads * window_size**2 / embed_dims
        self.add_projections(embed_dims, num_heads, qkv_bias)
        # named as in the published files, whose weights load by it
        self.relative_position_bias_table = nn.Parameter(torch.zeros((2 * window_size - 1) ** 2, num_heads))
        self.register_buffer('relative_index', relative_index(window_size), persistent=False)
        self.apply(init_weights)
        nn.init.trunc_normal_(self.relative_position_bias_table, std=0.02)

    def write(self, x: torch.Tensor, grid: Grid, state: None = None) -> None:
        return None

    @staticmethod
    def merge(states: Sequence[None]) -> None:
        return None

    def read(self, x: torch.Tensor, grid: Grid, state: None = None) -> torch.Tensor:
        """Mix the tokens of a strip whose rows are whole windows.

        Raises:
            ValueError: If the strip cuts through windows.
        """
        check_rows(grid, self.row_multiple)
        plane = pad_to_multiple(tokens_to_map(x, grid), self.window_size).permute(0, 2, 3, 1)
        shift = self._shift(grid)
        size = plane.shape[1:3]
        shifted = not known_equal(shift, (0, 0))
        if shifted:
            plane = plane.roll((-shift[0], -shift[1]), dims=(1, 2))
        windows = self._attend(self._cut(plane), self._visible(grid, size, shift))
        plane = self._join(windows, size)
        if shifted:
            plane = plane.roll(shift, dims=(1, 2))
        if not known_equal(size, (grid.rows, grid.width)):
            plane = first_along(first_along(plane, 1, grid.rows), 2, grid.width)
        return self.proj(plane.flatten(1, 2))

    def _shift(self, grid: Grid) -> tuple[int, int]:
        if not self.shift or self.borders == 'mmdet':
            return self.shift, self.shift
        # 1 for a side of more than one window and 0 for others, as arithmetic: a graph may be for maps of any size
        beyond = (larger(side - self.window_size, 0) for side in (grid.height, grid.width))
        return tuple(self.shift * smaller(tokens, 1) for tokens in beyond)

    def _cut(self, plane: torch.Tensor) -> torch.Tensor:
        # (B, rows, columns, C) to (B, windows, window_size ** 2, C)
        window = self.window_size
        tiles = plane.unflatten(2, (-1, window)).unflatten(1, (-1, window)).transpose(2, 3)
        return tiles.flatten(3, 4).flatten(1, 2)

    def _join(self, windows: torch.Tensor, size: Sequence[int]) -> torch.Tensor:
        window = self.window_size
        tiles = windows.unflatten(1, (size[0] // window, size[1] // window)).unflatten(3, (window, window))
        return tiles.transpose(2, 3).flatten(3, 4).flatten(1, 2)

    def _visible(self, grid: Grid, size: Sequence[int], shift: tuple[int, int]) -> torch.Tensor | None:
        """Which tokens of each window see each other, ``(windows, N, N)``, or None if all do."""
        masks_padding = self.borders == 'masked' and not known_equal(size, (grid.rows, grid.width))
        if not masks_padding and known_equal(shift, (0, 0)):
            return None
        device = self.relative_index.device
        # of a strip as if it were a map: it holds whole windows, and what rolls over its own edge is cut off as halo
        rows, columns = (torch.arange(n, device=device).roll(-by) for n, by in zip(size, shift, strict=True))
        # what is wrapped around, along each side, and what is padding
        groups = (rows < shift[0])[:, None] + 2 * (columns < shift[1])
        if masks_padding:
            groups = groups + 4 * ((rows >= grid.rows)[:, None] | (columns >= grid.width))
        groups = self._cut(groups[None, :, :, None])[0, :, :, 0]
        return groups.unsqueeze(1) == groups.unsqueeze(2)

    def _attend(self, windows: torch.Tensor, visible: torch.Tensor | None) -> torch.Tensor:
        shape = (self.num_heads, self.head_dim)
        parts = (self.q(windows), *project_parts(self.kv, windows, 2))
        # (B, windows, heads, N, d); masks differ between windows, not between samples
        q, k, v = (part.unflatten(-1, shape).transpose(2, 3) for part in parts)
        tokens = self.window_size**2
        bias = self.relative_position_bias_table[self.relative_index].view(tokens, tokens, -1).permute(2, 0, 1)
        mask = bias[None].to(q.dtype)
        if visible is None:
            # without masks all windows of all images are one batch
            fold = (0, 1)
        else:
            # every token sees itself, so that no row of the mask is all infinite, which softmax would make NaN
            mask = torch.where(visible.unsqueeze(1), mask, float('-inf')).flatten(0, 1)[None]
            # masks differ between windows and heads: these are what the mask broadcasts over
            fold = (1, 2)
        out = F.scaled_dot_product_attention(q.flatten(*fold), k.flatten(*fold), v.flatten(*fold), attn_mask=mask)
        return out.reshape(q.shape).transpose(2, 3).flatten(3)


def relative_index(window_size: int) -> torch.Tensor:
    """Row of the bias table for each pair of a window's tokens, query by query: ``(window_size ** 4,)``."""
    at = torch.arange(window_size)
    apart = at[:, None] - at + window_size - 1
    return (apart[:, None, :, None] * (2 * window_size - 1) + apart[None, :, None, :]).flatten()


def first_along(x: torch.Tensor, dim: int, size: int) -> torch.Tensor:
    """The first ``size`` along a dimension: a view, or a copy while a graph is captured.

    A graph for maps of any size would be one of those alone of which such a view cuts something off, or nothing.
    """
    return x.index_select(dim, torch.arange(size, device=x.device)) if captures_graph() else x.narrow(dim, 0, size)


def check_rows(grid: Grid, multiple: int) -> None:
    """Refuse a strip of a map whose edges cut through stripes of ``multiple`` rows.

    Raises:
        ValueError: If ``multiple`` does not divide the strip's first row, or its end within the map.
    """
    if grid.start % multiple or (grid.stop != grid.height and grid.stop % multiple):
        raise ValueError(f'rows {grid.start} to {grid.stop} of {grid.height} must be cut at multiples of {multiple}')
