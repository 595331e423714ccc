"""The two gate vectors of SAGA."""

from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import nn

from saga_mm.models.watched import is_plain

from .token_mixer import project_parts

ACTIVATIONS = {
    'sigmoid': torch.sigmoid,
    '1+tanh': lambda x: 1 + torch.tanh(x),
    'silu': F.silu,
}
SOURCES = ('input', 'low_rank', 'kv')
SIDES = {'both': ('key', 'value'), 'key': ('key',), 'value': ('value',), 'none': ()}


class GateOptions(NamedTuple):
    """Options of :class:`OuterProductGates`.

    Attributes:
        sides: ``'both'``, ``'key'``, ``'value'`` or ``'none'``.
        act: Gate activation, one of :data:`ACTIVATIONS`; ``'identity'`` switches the gates off.
        source: ``'input'`` (a linear layer of the block's input), ``'low_rank'`` (the same through ``hidden``
            channels) or ``'kv'`` (linear layers of the keys and of the values themselves).
        hidden: Inner width of ``'low_rank'``.
        rank: Number of outer products that make up a token's gate; it is their mean.
        shared: One gate of ``head_dim`` for all heads instead of one for each.
        bias: Initial bias of the gates; +2 starts them nearly open under a sigmoid.
    """

    sides: str = 'both'
    act: str = 'sigmoid'
    source: str = 'input'
    hidden: int = 16
    rank: int = 1
    shared: bool = False
    bias: float = 2.0


class OuterProductGates(nn.Module):
    """Gates ``a`` on keys and ``b`` on values, whose outer product gates a token's ``k^T v``.

    Args:
        embed_dims: Channels of the tokens.
        num_heads: Heads that the channels are split into.
        options: What is gated, from what, and how.

    Raises:
        ValueError: If an option is unknown or out of range.
    """

    def __init__(self, embed_dims: int, num_heads: int, options: GateOptions) -> None:
        super().__init__()
        sides, act, source, hidden, rank, shared, bias = options
        if sides not in SIDES:
            raise ValueError(f'unknown gates={sides!r}; choose one of {", ".join(SIDES)}')
        if act not in (*ACTIVATIONS, 'identity'):
            raise ValueError(f'unknown gate_act={act!r}; choose one of {", ".join(ACTIVATIONS)}, identity')
        if source not in SOURCES:
            raise ValueError(f'unknown gate_source={source!r}; choose one of {", ".join(SOURCES)}')
        if rank < 1:
            raise ValueError(f'gate_rank must be at least 1, got {rank}')
        self.sides = () if act == 'identity' else SIDES[sides]
        self.act = ACTIVATIONS.get(act)
        self.source = source
        self.rank = rank
        self.heads = 1 if shared else num_heads
        self.head_dim = embed_dims // num_heads
        width = rank * self.heads * self.head_dim
        last: list[nn.Linear] = []
        if source == 'kv':
            self.proj = nn.ModuleDict({side: nn.Linear(embed_dims, width) for side in self.sides})
            last += self.proj.values()
        elif self.sides:
            inner = hidden if source == 'low_rank' else embed_dims
            last.append(nn.Linear(inner, width * len(self.sides)))
            down = [nn.Linear(embed_dims, hidden, bias=False)] if source == 'low_rank' else []
            self.proj = nn.Sequential(*down, *last)
        for layer in self.modules():
            if isinstance(layer, nn.Linear):
                nn.init.trunc_normal_(layer.weight, std=0.02)
        # of more than one product, each starts as the first does: their mean is as open as one alone
        for layer in last:
            nn.init.constant_(layer.bias, bias)

    def _parts(self, x: torch.Tensor) -> list[torch.Tensor]:
        """The logits of each side, ``(B, N, width)``."""
        if not is_plain(self.proj, nn.Sequential):
            return list(self.proj(x).chunk(len(self.sides), dim=-1))
        *down, last = self.proj
        for layer in down:
            x = layer(x)
        return project_parts(last, x, len(self.sides))

    def forward(
        self, x: torch.Tensor, k: torch.Tensor, v: torch.Tensor, logits: bool = False
    ) -> list[tuple[torch.Tensor | None, torch.Tensor | None]]:
        """Gates of tokens ``x``, their keys and values, all ``(B, N, C)``; before the activation if ``logits``.

        Returns:
            For each term of the rank, the key gate and the value gate, ``(B, N, heads or 1, head_dim)`` or None.
        """
        if not self.sides:
            return [(None, None)]
        if self.source == 'kv':
            parts = [self.proj[side]({'key': k, 'value': v}[side]) for side in self.sides]
        else:
            parts = self._parts(x)
        if not logits:
            parts = [self.act(part) for part in parts]
        shape = (self.rank, self.heads, self.head_dim)
        gates = {side: part.unflatten(-1, shape) for side, part in zip(self.sides, parts, strict=True)}
        sides = [gates[side].unbind(2) if side in gates else (None,) * self.rank for side in ('key', 'value')]
        return list(zip(*sides, strict=True))
