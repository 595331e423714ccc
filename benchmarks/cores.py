"""Attention cores: what is left of attention without its projections, each beside its equation."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import nn

from saga_mm.ops import (
    Gates,
    Grid,
    elu_plus_one,
    linear_attention_reference,
    read_key,
    read_state,
    rotation_2d,
    write_mean,
    write_state,
)

Function = Callable[..., torch.Tensor]


class Kind(NamedTuple):
    """An attention core.

    Attributes:
        function: From the grid of the queries and the tensors that ``takes`` names to ``(B, N, heads, d)``.
        reference: The same by its equation, token pair by token pair.
        takes: Of ``'q'``, ``'k'``, ``'v'``, the shortened ``'short_k'`` and ``'short_v'``, and the logits of gates on
            keys and values, ``'a'`` and ``'b'``, all ``(B, N, heads, d)``.
        rereads: How often queries, or what has their size, must be read once more: forward, and both ways together.
    """

    function: Function
    reference: Function
    takes: tuple[str, ...]
    rereads: tuple[int, int] = (0, 0)


class Core(nn.Module):
    """A core as a module from its tensors to the mixed values.

    Args:
        kind: The core.
        grid: Of the queries.
    """

    def __init__(self, kind: Kind, grid: Grid) -> None:
        super().__init__()
        self.kind, self.grid, self.function = kind, grid, kind.function

    def forward(self, *tensors: torch.Tensor) -> torch.Tensor:
        return self.function(self.grid, *tensors)


def core_bytes(kind: Kind, inputs: tuple[torch.Tensor, ...], backward: bool) -> int:
    """Bytes that a core must move: inputs once, and the output; backward both again, with all gradients."""
    sizes = [t.numel() * t.element_size() for t in inputs]
    rereads = kind.rereads[backward] * sizes[0]
    return (3 * sum(sizes) + 2 * sizes[0] if backward else sum(sizes) + sizes[0]) + rereads


def _naive(grid: Grid, q: torch.Tensor, k: torch.Tensor, v: torch.Tensor) -> torch.Tensor:
    q, k, v = (t.transpose(1, 2) for t in (q, k, v))
    weights = (q @ k.transpose(-2, -1)) * q.shape[-1] ** -0.5
    weights = weights.softmax(dim=-1)
    return (weights @ v).transpose(1, 2)


def _fused(grid: Grid, q: torch.Tensor, k: torch.Tensor, v: torch.Tensor) -> torch.Tensor:
    q, k, v = (t.transpose(1, 2) for t in (q, k, v))
    return F.scaled_dot_product_attention(q, k, v).transpose(1, 2)


def softmax_reference(grid: Grid, q: torch.Tensor, k: torch.Tensor, v: torch.Tensor) -> torch.Tensor:
    """``sum_j exp(q_i . k_j / sqrt(d)) v_j / sum_j exp(q_i . k_j / sqrt(d))``."""
    weights = (torch.einsum('bihd,bjhd->bhij', q, k) / q.shape[-1] ** 0.5).exp()
    return torch.einsum('bhij,bjhd->bihd', weights, v) / weights.sum(-1).transpose(1, 2).unsqueeze(-1)


def _rala(grid: Grid, q: torch.Tensor, k: torch.Tensor, v: torch.Tensor) -> torch.Tensor:
    q, k = elu_plus_one(q), elu_plus_one(k)
    scores = read_key(k, write_mean(q), feature_map='identity').squeeze(-1) * q.shape[-1] ** -0.5
    options = {'feature_map': 'identity', 'rotate': rotation_2d(grid, q.shape[-1], q)}
    return read_state(q, write_state(k, v, Gates(log_weights=scores), **options), **options)


def rala_reference(grid: Grid, q: torch.Tensor, k: torch.Tensor, v: torch.Tensor) -> torch.Tensor:
    """Of raw queries and keys; the equation is that of :class:`RankAugmentedLinearAttention`."""
    q, k = elu_plus_one(q), elu_plus_one(k)
    scores = (q.mean(1, keepdim=True) * k).sum(-1) / q.shape[-1] ** 0.5
    rotate = rotation_2d(grid, q.shape[-1], q)
    return linear_attention_reference(q, k, v, Gates(log_weights=scores), feature_map='identity', rotate=rotate)


def _additive(*gates: str, feature_map: str = 'relu') -> Kind:
    """A core with an additive state, and the gates that it has on keys and values, if any."""

    def fast(grid: Grid, q: torch.Tensor, k: torch.Tensor, v: torch.Tensor, *logits: torch.Tensor) -> torch.Tensor:
        state = write_state(k, v, Gates(*logits, act='sigmoid'), feature_map=feature_map)
        return read_state(q, state, feature_map=feature_map)

    def exact(grid: Grid, q: torch.Tensor, k: torch.Tensor, v: torch.Tensor, *logits: torch.Tensor) -> torch.Tensor:
        return linear_attention_reference(q, k, v, Gates(*logits, act='sigmoid'), feature_map=feature_map)

    return Kind(fast, exact, ('q', 'k', 'v', *gates))


CORES: dict[str, Kind] = {
    'naive': Kind(_naive, softmax_reference, ('q', 'short_k', 'short_v')),
    'fused': Kind(_fused, softmax_reference, ('q', 'short_k', 'short_v')),
    'linear': _additive(),
    'focused': _additive(feature_map='focused'),
    # weights need the mean query first; backward, its gradient needs all keys first
    'rala': Kind(_rala, rala_reference, ('q', 'k', 'v'), (1, 3)),
    'saga': _additive('a', 'b'),
}
