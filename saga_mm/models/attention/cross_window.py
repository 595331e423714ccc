"""Softmax attention within upright and lying stripes (CSWin, Dong et al., CVPR 2022)."""

from collections.abc import Callable, Sequence
from functools import partial
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import nn

from saga_mm.models.init import init_weights
from saga_mm.models.watched import is_plain
from saga_mm.ops import Grid, captures_graph, known_equal, round_up
from saga_mm.registry import MODELS

from .token_mixer import TokenMixer, project_parts
from .window import check_rows, first_along


class Columns(NamedTuple):
    """Keys and values of the heads that look along columns, ``(B, rows, width, heads, d)`` each."""

    keys: torch.Tensor
    values: torch.Tensor


@MODELS.register_module(name=['CrossWindowAttention', 'cross_window'])
class CrossWindowAttention(TokenMixer):
    """``softmax(q k^T / sqrt(d)) v + LePE(v)`` within stripes of a map.

    The first half of the heads sees stripes as high as the map, the other half stripes as wide as the map. LePE, the
    locally enhanced positional encoding, is a depthwise convolution of v that ends at the stripe's edges. Where the
    width does not divide a side, the last stripe is narrower: the same as padding it and masking the padding.

    Args:
        embed_dims: Channels C.
        num_heads: Heads; must divide C. Of an odd number, the middle head sees upright stripes.
        qkv_bias: Biases in the projections of q, k and v.
        stripe_width: Width of a stripe, in tokens; 0 lets all heads see the whole map.
        init_cfg: Initialisation config of mmengine.

    Attributes:
        row_multiple: A strip of a map must start at a row that this divides, and stop at one or at the map's end.
        halo: As of :class:`TokenMixer`; a whole stripe, for the convolution.

    Raises:
        ValueError: If ``num_heads`` does not divide ``embed_dims`` or ``stripe_width`` is negative.
    """

    takes = frozenset({'qkv_bias', 'stripe_width'})

    def __init__(
        self,
        embed_dims: int,
        num_heads: int,
        qkv_bias: bool = True,
        stripe_width: int = 7,
        init_cfg: dict | None = None,
    ) -> None:
        super().__init__(init_cfg)
        if stripe_width < 0:
            raise ValueError(f'stripe_width={stripe_width} must be positive, or 0 for the whole map')
        self.stripe_width = stripe_width
        self.lying = num_heads // 2 if stripe_width else 0
        self.upright = num_heads - self.lying
        self.row_multiple = self.halo = stripe_width if self.lying else 1
        # a strip has all of its lying stripes; of the upright ones, the keys and values of all rows are kept
        self.state_floats_per_channel = 2 * self.upright / num_heads
        self.add_projections(embed_dims, num_heads, qkv_bias)
        self.apply(init_weights)
        # after the others: published with PyTorch's own initialisation
        self.lepe = nn.Conv2d(embed_dims, embed_dims, 3, padding=1, groups=embed_dims)

    def write(self, x: torch.Tensor, grid: Grid, state: None = None) -> Columns:
        return self._columns(*self._keys_values(x, grid))

    @staticmethod
    def merge(states: Sequence[Columns]) -> Columns:
        return Columns(*(torch.cat(parts, dim=1) for parts in zip(*states, strict=True)))

    def read(self, x: torch.Tensor, grid: Grid, state: Columns) -> torch.Tensor:
        """Answer the tokens of a strip whose rows are whole stripes.

        Raises:
            ValueError: If the strip cuts through stripes.
        """
        return self._read(x, grid, state, *self._keys_values(x, grid))

    def forward(self, x: torch.Tensor, grid: Grid) -> torch.Tensor:
        keys, values = self._keys_values(x, grid)
        return self._read(x, grid, self._columns(keys, values), keys, values)

    def _keys_values(self, x: torch.Tensor, grid: Grid) -> list[torch.Tensor]:
        return [self._heads(part, grid) for part in project_parts(self.kv, x, 2)]

    def _columns(self, keys: torch.Tensor, values: torch.Tensor) -> Columns:
        return Columns(keys[..., : self.upright, :], values[..., : self.upright, :])

    def _heads(self, x: torch.Tensor, grid: Grid) -> torch.Tensor:
        return x.unflatten(-1, (self.num_heads, self.head_dim)).unflatten(1, (grid.rows, grid.width))

    def _read(
        self, x: torch.Tensor, grid: Grid, state: Columns, keys: torch.Tensor, values: torch.Tensor
    ) -> torch.Tensor:
        check_rows(grid, self.row_multiple)
        heads = (self.upright, self.lying)
        width = self.stripe_width or grid.width
        # by itself, since attention sees the values of the whole map and the convolution those of the strip alone
        local = self._lepe(values, width)
        queries, keys, values = (part.split(heads, dim=3) for part in (self._heads(self.q(x), grid), keys, values))
        outs = [in_stripes(attend, width, queries[0], *state) + local[0]]
        if self.lying:
            # a lying stripe is an upright one of the transposed map
            transposed = (part[1].transpose(1, 2) for part in (queries, keys, values))
            outs.append(in_stripes(attend, width, *transposed).transpose(1, 2) + local[1])
        return self.proj(torch.cat(outs, dim=3).flatten(3).flatten(1, 2))

    def _lepe(self, values: torch.Tensor, width: int) -> list[torch.Tensor]:
        """The convolution within upright stripes, of their heads, and within lying ones, of theirs."""
        heads = (self.upright, self.lying) if self.lying else (self.upright,)
        if is_plain(self.lepe, nn.Conv2d):
            channels = [n * self.head_dim for n in heads]
            parts = values.split(heads, dim=3)
            kernels, biases = self.lepe.weight.split(channels), self.lepe.bias.split(channels)
            outs = [in_stripes(convolve(depthwise(kernels[0], biases[0])), width, parts[0])]
            if self.lying:
                convolution = convolve(depthwise(kernels[1].transpose(2, 3), biases[1]))
                outs.append(in_stripes(convolution, width, parts[1].transpose(1, 2)).transpose(1, 2))
            return outs
        # a layer that is called is given all channels: each of the heads takes its own of the answer
        outs = [in_stripes(convolve(self.lepe), width, values)[..., : self.upright, :]]
        if self.lying:
            convolution = convolve(lambda plane: self.lepe(plane.transpose(2, 3)).transpose(2, 3))
            outs.append(in_stripes(convolution, width, values.transpose(1, 2)).transpose(1, 2)[..., self.upright :, :])
        return outs


def in_stripes(function: Callable[..., torch.Tensor], width: int, *maps: torch.Tensor) -> torch.Tensor:
    """Apply a function to stripes of ``width`` columns; the last one may be narrower.

    While a graph is captured it is padded with zeros instead, and the function is told so: the graph may be for maps
    of any size, and which of them have a narrower stripe is not known.

    Args:
        function: From stripes ``(B * stripes, rows, width, heads, d)`` of each map to such stripes. Of padded maps it
            is given ``inside`` as well, which columns of each stripe are not padding, ``(B * stripes, width)``.
        width: Columns of a stripe.
        maps: ``(B, rows, columns, heads, d)`` each; the first decides the rows of the result.

    Returns:
        ``(B, rows, columns, heads, d)``.
    """

    def apply(width: int, maps: Sequence[torch.Tensor], **padding: torch.Tensor) -> torch.Tensor:
        cut = (x.unflatten(2, (-1, width)).transpose(1, 2).flatten(0, 1) for x in maps)
        return function(*cut, **padding).unflatten(0, (batch, -1)).transpose(1, 2).flatten(2, 3)

    batch, _, columns = maps[0].shape[:3]
    rest = columns % width
    if known_equal((rest,), (0,)):
        return apply(width, maps)
    if captures_graph():
        padded = round_up(columns, width)
        inside = torch.arange(padded, device=maps[0].device).view(-1, width) < columns
        maps = [F.pad(x, (0, 0, 0, 0, 0, padded - columns)) for x in maps]
        return first_along(apply(width, maps, inside=inside.repeat(batch, 1)), 2, columns)
    # a narrower stripe in place of padding: no token is computed that is thrown away, and no mask is needed
    last = apply(rest, [x[:, :, columns - rest :] for x in maps])
    return torch.cat([apply(width, [x[:, :, :-rest] for x in maps]), last], dim=2) if rest < columns else last


def attend(q: torch.Tensor, k: torch.Tensor, v: torch.Tensor, inside: torch.Tensor | None = None) -> torch.Tensor:
    """Softmax attention of all tokens of each map ``(B, rows, columns, heads, d)``.

    Args:
        q: Queries.
        k: Keys, perhaps of a map with more rows.
        v: Values, like ``k``.
        inside: Columns whose keys are seen, ``(B, columns)``; None for all.
    """
    # the columns of each row, one row after the other, as the keys lie
    mask = None if inside is None else inside.repeat(1, k.shape[1])[:, None, None]
    queries, keys, values = (x.flatten(1, 2).transpose(1, 2) for x in (q, k, v))
    out = F.scaled_dot_product_attention(queries, keys, values, attn_mask=mask)
    return out.transpose(1, 2).unflatten(1, q.shape[1:3])


def depthwise(weight: torch.Tensor, bias: torch.Tensor) -> Callable[[torch.Tensor], torch.Tensor]:
    """A convolution of maps ``(B, C, H, W)`` by a kernel ``(C, 1, 3, 3)``, with zeros around them."""
    return partial(F.conv2d, weight=weight, bias=bias, padding=1, groups=len(weight))


def convolve(conv: Callable[[torch.Tensor], torch.Tensor]) -> Callable[..., torch.Tensor]:
    """A convolution of maps ``(B, C, H, W)`` as a function of maps ``(B, rows, columns, heads, d)``."""

    def function(x: torch.Tensor, inside: torch.Tensor | None = None) -> torch.Tensor:
        return conv(x.flatten(3).permute(0, 3, 1, 2)).permute(0, 2, 3, 1).unflatten(3, x.shape[3:])

    return function
