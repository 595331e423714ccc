"""The feed-forward of a block in slices of few tokens, for inference: its hidden numbers stay in a processor's cache.

``torch.ops.saga_mm.feed_forward`` is one node to ``torch.compile``, which a loop in Python would not be.
"""

import torch
import torch.nn.functional as F

from .products import behind_norm, linear, multiply, turned
from .slices import slice_length


def add_feed_forward(
    x: torch.Tensor,
    norm: tuple[torch.Tensor, torch.Tensor],
    eps: float,
    first: tuple[torch.Tensor, torch.Tensor],
    second: tuple[torch.Tensor, torch.Tensor],
) -> torch.Tensor:
    """``x + GELU(LayerNorm(x) W1^T + b1) W2^T + b2``, without gradients.

    Args:
        x: Tokens ``(B, N, C)``, contiguous; overwritten.
        norm: Scale and shift of the norm, ``(C,)`` each.
        eps: Of the norm.
        first: ``W1``, ``(D, C)``, and ``b1``, ``(D,)``.
        second: ``W2``, ``(C, D)``, and ``b2``, ``(C,)``.

    Returns:
        ``x``.
    """
    channels, width = x.shape[-1], len(first[0])
    tokens = x.view(-1, channels)
    length = slice_length(x, width)
    buffer = x.new_empty(min(length, len(tokens)), width)
    norm, (widen,) = behind_norm((*norm, eps), first)
    back = turned(second[0])
    for part in tokens.split(length):
        hidden = linear(F.layer_norm(part, (channels,), *norm), *widen, buffer)
        torch.ops.aten.gelu_(hidden)
        multiply(hidden, back, part.add_(second[1]), add=True)
    return x


@torch.library.custom_op('saga_mm::feed_forward', mutates_args=('x',))
def feed_forward(
    x: torch.Tensor,
    scale: torch.Tensor,
    shift: torch.Tensor,
    eps: float,
    weight1: torch.Tensor,
    bias1: torch.Tensor,
    weight2: torch.Tensor,
    bias2: torch.Tensor,
) -> None:
    add_feed_forward(x, (scale, shift), eps, (weight1, bias1), (weight2, bias2))


@feed_forward.register_fake
def _(x, *args):
    pass
