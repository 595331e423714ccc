"""One run of a subject: a forward pass, or one forward and backward."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch.utils._pytree import tree_leaves

from .cases import Subject

# each compiled subject adds an entry to the cache of the same function
CACHE = 256


class Step:
    """Runs a subject once whenever it is called.

    Args:
        subject: What runs.
        backward: Forward and backward, else forward without gradients.
        compiled: By ``torch.compile``, for the size of the inputs alone.
    """

    def __init__(self, subject: Subject, backward: bool = False, compiled: bool = False) -> None:
        self.inputs, self.backward = subject.inputs, backward
        self.leaves = [*subject.module.parameters(), *subject.inputs]
        self.call = compile_fixed(subject.module) if compiled else subject.module
        self.cotangents: list[torch.Tensor] | None = None

    def __call__(self) -> list[torch.Tensor]:
        """The outputs; gradients are left in the parameters and inputs."""
        if not self.backward:
            with torch.inference_mode():
                return tree_leaves(self.call(*self.inputs))
        outs = [out for out in tree_leaves(self.call(*self.inputs)) if out.requires_grad]
        if self.cotangents is None:
            torch.manual_seed(1)
            self.cotangents = [torch.randn(out.shape).to(out) for out in outs]
        torch.autograd.backward(outs, self.cotangents)
        return [out.detach() for out in outs]

    def forget(self) -> None:
        """Drop the gradients."""
        for leaf in self.leaves:
            leaf.grad = None

    def results(self) -> list[torch.Tensor]:
        """Outputs, and behind them, if it runs backward, all gradients as one vector."""
        self.forget()
        outs = self()
        if self.backward:
            grads = [leaf.grad.flatten() for leaf in self.leaves if leaf.grad is not None]
            outs.append(torch.cat(grads))
            self.forget()
        return outs


def compile_fixed(module: torch.nn.Module) -> torch.nn.Module:
    """``torch.compile`` for one size; what has been compiled before must not make it fall back to eager."""
    import torch._dynamo

    torch._dynamo.config.cache_size_limit = CACHE
    return torch.compile(module, dynamic=False)


def forget_compiled() -> None:
    """Drop all compiled code, so that other sizes start afresh."""
    import torch._dynamo

    torch._dynamo.reset()


def largest_error(found: Sequence[torch.Tensor], exact: Sequence[torch.Tensor]) -> float:
    """Largest relative L2 error of a tensor; infinite if shapes differ or a number is not finite."""
    if [t.shape for t in found] != [t.shape for t in exact]:
        return float('inf')
    errors = [
        ((ours.double() - theirs.double()).norm() / theirs.double().norm().clamp_min(1e-30)).item()
        for ours, theirs in zip(found, exact)
    ]
    return max((float('inf') if error != error else error for error in errors), default=float('inf'))
