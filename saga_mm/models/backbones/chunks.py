"""Where inference may run in pieces, and how large they are."""

import math
from collections.abc import Callable

import torch
from torch import nn

from saga_mm.ops import ACCELERATOR_CHUNK_BYTES, CHUNK_BYTES, captures_graph

# what is wide and depends on one token alone stays in a processor's cache
SLICE_BYTES = 4 * 2**20


def chunk_bytes(module: nn.Module, x: torch.Tensor) -> float:
    """Bytes that a computation on a piece of ``x`` may take; infinite where it must be run whole.

    That is in training, while a graph is captured, and if a module inside has a hook, which shall see whole maps.
    """
    if module.training or torch.is_grad_enabled() or captures_graph():
        return math.inf
    if any(part._forward_hooks or part._forward_pre_hooks for part in module.modules() if part is not module):
        return math.inf
    return CHUNK_BYTES if x.device.type == 'cpu' else ACCELERATOR_CHUNK_BYTES


def add_in_slices(x: torch.Tensor, function: Callable[[torch.Tensor], torch.Tensor], width: int) -> torch.Tensor:
    """Add to tokens ``(B, N, C)`` what a function makes of each of them alone, in slices of few tokens.

    Args:
        x: Tokens; overwritten where their memory allows.
        function: From tokens ``(n, C)`` to tokens.
        width: The most numbers that it keeps for a token at a time.

    Returns:
        The sum, shaped like ``x``.
    """
    x = x.contiguous()
    for part in x.view(-1, x.shape[-1]).split(max(SLICE_BYTES // (width * x.element_size()), 256)):
        part += function(part)
    return x
