"""The base class of every attention, and how ``attention=`` is resolved."""

from collections.abc import Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import nn

from saga_mm.errors import nearest
from saga_mm.foundation import BaseModule
from saga_mm.models.watched import is_plain
from saga_mm.ops import Grid
from saga_mm.registry import MODELS


class TokenMixer(BaseModule):
    """Global attention in two steps: every token writes a state, every token reads it.

    ``forward`` writes and reads a whole map. Strips of a map may also be written one by one, their states merged, and
    the merged state read strip by strip, with the same result. A class token is a set of tokens of its own; its grid is
    None, because it has no position and no local branch.

    Attributes:
        takes_class_token: Whether the grid may be None.
        takes: Arguments of this class that a backbone may supply, of ``qkv_bias``, ``sr_ratio``, ``table_size``,
            ``window_size`` and so on. What the user sets takes precedence.
        sweeps: How often all tokens must be written before any can be read.
        halo: Rows beyond each edge of a strip that ``read`` depends on.
        row_multiple: A strip must start at a multiple of this row, and stop at one or at the map's end.
        peak_floats_per_channel: Upper bound on the floats alive for each token while it is written or read, divided by
            its channels. Overestimate if unsure: strips only become lower.
        state_floats_per_channel: Floats that the state keeps of each token, divided by its channels; 0 for a sum.
    """

    takes: frozenset[str] = frozenset({'qkv_bias'})
    takes_class_token: bool = False
    sweeps: int = 1
    halo: int = 0
    row_multiple: int = 1
    peak_floats_per_channel: float = 12.0
    state_floats_per_channel: float = 0.0

    def divide_heads(self, embed_dims: int, num_heads: int) -> None:
        """Set ``num_heads`` and ``head_dim``.

        Raises:
            ValueError: If ``num_heads`` does not divide ``embed_dims``.
        """
        if embed_dims % num_heads:
            raise ValueError(f'num_heads={num_heads} does not divide embed_dims={embed_dims}')
        self.num_heads, self.head_dim = num_heads, embed_dims // num_heads

    def add_projections(self, embed_dims: int, num_heads: int, qkv_bias: bool) -> None:
        """Divide the channels into heads, and add the layers ``q``, ``kv`` (keys first) and ``proj``."""
        self.divide_heads(embed_dims, num_heads)
        self.q = nn.Linear(embed_dims, embed_dims, bias=qkv_bias)
        self.kv = nn.Linear(embed_dims, 2 * embed_dims, bias=qkv_bias)
        self.proj = nn.Linear(embed_dims, embed_dims)

    def heads(self, x: torch.Tensor) -> torch.Tensor:
        """Channels ``(B, N, C)`` as heads ``(B, N, heads, d)``."""
        return x.unflatten(-1, (self.num_heads, self.head_dim))

    def write(self, x: torch.Tensor, grid: Grid, state: Any = None) -> Any:
        """State of the tokens ``x``, ``(B, N, C)``, at ``grid``.

        In a second sweep, ``state`` is the merged state of the first.
        """
        raise NotImplementedError

    @staticmethod
    def merge(states: Sequence[Any]) -> Any:
        """State of the union of the token sets behind ``states``."""
        raise NotImplementedError

    def read(self, x: torch.Tensor, grid: Grid, state: Any) -> torch.Tensor:
        """Output ``(B, N, C)`` of the tokens ``x`` at ``grid``, from the state of all tokens."""
        raise NotImplementedError

    def forward(self, x: torch.Tensor, grid: Grid) -> torch.Tensor:
        """Mix the tokens ``x``, ``(B, H * W, C)``, of the whole map ``grid``."""
        state = None
        for _ in range(self.sweeps):
            state = self.write(x, grid, state)
        return self.read(x, grid, state)


def project_parts(layer: nn.Linear, x: torch.Tensor, parts: int) -> list[torch.Tensor]:
    """``layer(x).chunk(parts, dim=-1)``, one product for each part, since a compiled graph copies the parts of one."""
    if not is_plain(layer, nn.Linear):
        return list(layer(x).chunk(parts, dim=-1))
    biases = [None] * parts if layer.bias is None else layer.bias.chunk(parts)
    return [F.linear(x, weight, bias) for weight, bias in zip(layer.weight.chunk(parts), biases, strict=True)]


def project_values(kv: nn.Linear, x: torch.Tensor) -> torch.Tensor:
    """``kv(x)`` without the keys, its first half, which a plain layer need not compute."""
    if not is_plain(kv, nn.Linear):
        return kv(x).chunk(2, dim=-1)[1]
    return F.linear(x, kv.weight.chunk(2)[1], None if kv.bias is None else kv.bias.chunk(2)[1])


def resolve_attention(attention: str | dict | type[TokenMixer]) -> tuple[type[TokenMixer], dict]:
    """Class and options behind ``attention=``.

    Args:
        attention: A registered name (``'saga'``, ``'softmax'``), a class, or a dict whose ``type`` is one of these and
            whose other keys are options of the mixer.

    Raises:
        ValueError: If the name is unknown, or names something that is not a token mixer.
    """
    options = dict(attention) if isinstance(attention, dict) else {'type': attention}
    name = options.pop('type', None)
    mixer = MODELS.get(name) if isinstance(name, str) else name
    if not (isinstance(mixer, type) and issubclass(mixer, TokenMixer)):
        # each is registered twice; the names in lower case are those that users write
        names = [key for key, cls in MODELS.module_dict.items() if issubclass(cls, TokenMixer) and key.islower()]
        hint = nearest(str(name), names)
        raise ValueError(f'unknown attention {name!r}; {hint}choose one of {", ".join(sorted(names))}')
    return mixer, options


def build_attention(
    attention: str | dict | type[TokenMixer], embed_dims: int, num_heads: int, softmax: str = 'softmax', **offers: Any
) -> TokenMixer:
    """Build the mixer that ``attention`` names.

    Args:
        attention: As in :func:`resolve_attention`.
        embed_dims: Channels.
        num_heads: Heads.
        softmax: What ``'softmax'`` selects in the backbone that is built.
        offers: Arguments that the backbone supplies. The mixer is given those that it ``takes``; options of
            ``attention`` take precedence.
    """
    mixer, options = resolve_attention(attention)
    # also of a class: a backbone's published attention is what 'softmax' means in it
    if mixer is resolve_attention('softmax')[0]:
        mixer = resolve_attention(softmax)[0]
    # what a class does not know is left out: a config changes the attention and nothing else
    taken = {name: value for name, value in offers.items() if name in mixer.takes}
    return mixer(embed_dims=embed_dims, num_heads=num_heads, **{**taken, **options})
