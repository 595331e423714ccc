"""Decide whether a module runs in chunks of rows in inference, and how large they are."""

import math
from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import nn

from saga_mm.models.attention import TokenMixer
from saga_mm.models.watched import has_hook, replaced_forward
from saga_mm.ops import captures_graph
from saga_mm.rows import TORCH, Engine, RowStep, bytes_of_chunks, engine_of

# the methods that run a stage, a block or an attention over rows in place of its forward
ROW_METHODS = frozenset({'steps', 'write', 'read', 'attend', 'feed', 'join'})


def whole_reason(module: nn.Module) -> str | None:
    """Why a module must compute whole maps, as the second half of a sentence; None if it may run in strips.

    Only the modules inside are asked about hooks and forwards: a hook on ``module`` itself sees its whole map anyway.
    """
    if torch.is_grad_enabled():
        return 'gradients are enabled'
    if captures_graph():
        return 'a graph is being captured, in which a loop over pieces would be frozen at the size of one map'
    if module.training:
        return 'it is in training mode'
    for name, part in module.named_modules():
        if part is module:
            continue
        if part.training:
            return f'the submodule {name} is in training mode'
        if has_hook(part):
            return f'the submodule {name} has a hook'
        if replaced_forward(part) or overrides_forward(part):
            return f'the submodule {name} has a forward of its own'
    return None


def overrides_forward(module: nn.Module) -> bool:
    """Whether a stage, block or attention has a ``forward`` of its own without the methods that run it over rows.

    That is: the instance, or a class in its method resolution order, defines ``forward`` and comes before every class
    that defines one of :data:`ROW_METHODS`. Rows would not call such a ``forward``, or not know how far it looks. A
    class that defines both is trusted to keep them equal.
    """
    if not isinstance(module, RowStep | TokenMixer) and not hasattr(type(module), 'steps'):
        return False
    for owner in (module, *type(module).__mro__):
        if not ROW_METHODS.isdisjoint(vars(owner)):
            return False
        if 'forward' in vars(owner):
            return True
    return False


def engine_for(module: nn.Module, x: torch.Tensor) -> Engine | None:
    """The engine that a module was told to use, for an input; None where it computes in PyTorch.

    Args:
        module: A backbone or an enhancer.
        x: What it is given.
    """
    engine = engine_of(module)
    if engine is not TORCH:
        engine.shape = tuple(x.shape)
    if engine.name == 'torch' or module.training or torch.is_grad_enabled() or captures_graph():
        return None
    if reason := whole_reason(module) or engine.refusal(x):
        engine.note(type(module).__name__, reason)
        return None
    return engine


def run_on(
    engine: Engine,
    modules: Sequence[nn.Module],
    compute: Callable[..., Any],
    x: torch.Tensor,
    *more: torch.Tensor,
    recurs: bool = False,
) -> Any:
    """Run modules on a batch of images as a whole on an engine.

    Args:
        engine: The engine.
        modules: The modules.
        compute: Their computation in PyTorch, for images of any size.
        x: The images, ``(B, C, H, W)``.
        more: What else the computation is given, of the same sizes for images of any size.
        recurs: Whether more images of this size follow.
    """
    # sides that no stride divides, so that a trace takes none for a constant
    example = [torch.rand(1, x.shape[1], 141, 173), *(one[:1] for one in more)]
    return engine.apply(compute, modules, x, *more, example=example, recurs=recurs)


def chunk_bytes(module: nn.Module, x: torch.Tensor) -> float:
    """Bytes that a computation on a strip of ``x`` may take; infinite where :func:`whole_reason` has one."""
    if whole_reason(module) is not None:
        return math.inf
    return bytes_of_chunks(x.device.type)
