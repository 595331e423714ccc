"""The feed-forward of a block in slices of few tokens, for inference: its hidden numbers stay in a processor's cache.

``torch.ops.saga_mm.feed_forward`` is one node to ``torch.compile``, which a loop in Python would not be.
"""

import torch
import torch.nn.functional as F

SLICE_BYTES = 8 * 2**20
FEWEST_TOKENS = 2048


def add_feed_forward(
    x: torch.Tensor,
    norm: tuple[torch.Tensor, torch.Tensor],
    eps: float,
    first: tuple[torch.Tensor, torch.Tensor],
    second: tuple[torch.Tensor, torch.Tensor],
    out: torch.Tensor | None = None,
) -> torch.Tensor:
    """``x + GELU(LayerNorm(x) W1^T + b1) W2^T + b2``, without gradients.

    Args:
        x: Tokens ``(B, N, C)``; overwritten where they are contiguous, unless there is ``out``.
        norm: Scale and shift of the norm, ``(C,)`` each.
        eps: Of the norm.
        first: ``W1``, ``(D, C)``, and ``b1``, ``(D,)``.
        second: ``W2``, ``(C, D)``, and ``b2``, ``(C,)``.
        out: Where to write, contiguous tokens like ``x``; None for where ``x`` is.

    Returns:
        Tokens like ``x``.
    """
    x = x.contiguous()
    tokens = x.view(-1, x.shape[-1])
    width = len(first[0])
    length = slice_length(x, width)
    buffer = x.new_empty(min(length, len(tokens)), width)
    parts = tokens.split(length)
    for part, result in zip(parts, parts if out is None else out.view_as(tokens).split(length), strict=True):
        hidden = buffer[: len(part)]
        normed = F.layer_norm(part, part.shape[-1:], *norm, eps)
        torch.addmm(first[1], normed, first[0].t(), out=hidden)
        torch.ops.aten.gelu_(hidden)
        torch.add(part, second[1], out=result).addmm_(hidden, second[0].t())
    return x if out is None else out


def slice_length(x: torch.Tensor, width: int) -> int:
    """Tokens of a slice, of which ``width`` numbers each exist at once."""
    return max(SLICE_BYTES // (width * x.element_size()), FEWEST_TOKENS)


@torch.library.custom_op('saga_mm::feed_forward', mutates_args=())
def feed_forward(
    x: torch.Tensor,
    scale: torch.Tensor,
    shift: torch.Tensor,
    eps: float,
    weight1: torch.Tensor,
    bias1: torch.Tensor,
    weight2: torch.Tensor,
    bias2: torch.Tensor,
) -> torch.Tensor:
    # what the graph hands in is not ours
    out = torch.empty_like(x, memory_format=torch.contiguous_format)
    return add_feed_forward(x, (scale, shift), eps, (weight1, bias1), (weight2, bias2), out)


@feed_forward.register_fake
def _(x, scale, shift, eps, weight1, bias1, weight2, bias2):
    return torch.empty_like(x, memory_format=torch.contiguous_format)
