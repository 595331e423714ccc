"""Where inference may run in pieces, and how large they are."""

import math

import torch
from torch import nn

from saga_mm.ops import ACCELERATOR_CHUNK_BYTES, CHUNK_BYTES, captures_graph


def runs_in_pieces(module: nn.Module) -> bool:
    """Whether nobody minds that a module computes a map in pieces.

    Training does, and so does a module inside that has a hook, which shall see whole maps, or another ``forward``.
    """
    if module.training or torch.is_grad_enabled():
        return False
    inside = (part for part in module.modules() if part is not module)
    return not any(part._forward_hooks or part._forward_pre_hooks or 'forward' in vars(part) for part in inside)


def chunk_bytes(module: nn.Module, x: torch.Tensor) -> float:
    """Bytes that a computation on a piece of ``x`` may take; infinite where it must be run whole.

    That is where :func:`runs_in_pieces` says so, and while a graph is captured.
    """
    if captures_graph() or not runs_in_pieces(module):
        return math.inf
    return CHUNK_BYTES if x.device.type == 'cpu' else ACCELERATOR_CHUNK_BYTES
