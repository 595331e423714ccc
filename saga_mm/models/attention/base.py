"""What a host may expect of a token mixer."""

from collections.abc import Sequence
from typing import Any

import torch
from mmengine.model import BaseModule

from saga_mm.ops import Grid
from saga_mm.registry import MODELS


class TokenMixer(BaseModule):
    """Global attention in two steps: every token writes a state, every token reads it.

    Pieces of a map may be written one by one, their states merged, and then be read one by one; ``forward`` is the
    two steps in a row, for a whole map.

    Attributes:
        linear: The cost is linear in the number of tokens, so a host need not shorten keys and values.
        halo: Rows that ``read`` needs beyond each edge of a piece for its own rows to come out exact.
    """

    linear: bool = True
    halo: int = 0

    def write(self, x: torch.Tensor, grid: Grid) -> Any:
        """State of the tokens ``x``, ``(B, N, C)``, that stand at ``grid``."""
        raise NotImplementedError

    @staticmethod
    def merge(states: Sequence[Any]) -> Any:
        """State of the union of the token sets behind ``states``."""
        raise NotImplementedError

    def read(self, x: torch.Tensor, grid: Grid, state: Any) -> torch.Tensor:
        """Answer of ``state`` to the tokens ``x``, ``(B, N, C)``, that stand at ``grid``."""
        raise NotImplementedError

    def forward(self, x: torch.Tensor, grid: Grid) -> torch.Tensor:
        """Mix the tokens ``x``, ``(B, H * W, C)``, of the whole map ``grid``."""
        return self.read(x, grid, self.write(x, grid))


def resolve_attention(attention: str | dict) -> tuple[type[TokenMixer], dict]:
    """Class and options behind ``attention=``.

    Args:
        attention: A registered name (``'saga'``, ``'softmax'``), or a dict whose ``type`` is one and whose other keys
            are options of the mixer.

    Raises:
        ValueError: If the name is unknown, or names something that is not a token mixer.
    """
    options = dict(attention) if isinstance(attention, dict) else {'type': attention}
    name = options.pop('type', None)
    mixer = MODELS.get(name) if isinstance(name, str) else name
    if not (isinstance(mixer, type) and issubclass(mixer, TokenMixer)):
        names = [key for key, cls in MODELS.module_dict.items() if issubclass(cls, TokenMixer) and key.islower()]
        raise ValueError(f'unknown attention {name!r}; choose one of {", ".join(sorted(names))}')
    return mixer, options


def build_attention(attention: str | dict, embed_dims: int, num_heads: int, **defaults: Any) -> TokenMixer:
    """Build the mixer that ``attention`` names; its own options win over the host's ``defaults``."""
    mixer, options = resolve_attention(attention)
    return mixer(embed_dims=embed_dims, num_heads=num_heads, **{**defaults, **options})
