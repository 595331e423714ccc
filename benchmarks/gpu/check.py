"""Correctness first: the kernels against the plain operations in float64."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import torch

from saga_mm.ops import KVState, fused, read_state, write_state

# relative, in the norm of a whole tensor
LIMITS = {torch.float32: 1e-5, torch.float16: 2e-3, torch.bfloat16: 1e-2}
HEAD_DIMS = (32, 64, 96, 128)
# one token, less than a tile, and a number that nothing divides
TOKENS = (1, 37, 4099)
POISON_BYTES = 64 * 2**20


@dataclass(frozen=True)
class Check:
    """What was compared, and the largest relative error of the output and of the gradients."""

    name: str
    dtype: str
    output: float
    gradients: float
    limit: float

    @property
    def passed(self) -> bool:
        """Whether both are within the limit; what is not a number is not."""
        return self.output <= self.limit and self.gradients <= self.limit


def check_kernels(
    device: str = 'cuda', head_dims: Iterable[int] = HEAD_DIMS, tokens: Iterable[int] = TOKENS
) -> Iterator[Check]:
    """Compare a write and a read, and their gradients, for each head size, number of tokens and type."""
    for dtype, limit in LIMITS.items():
        for head_dim in head_dims:
            for count in tokens:
                output, gradients = _errors(device, head_dim, count, dtype)
                name = f'head size {head_dim}, {count} tokens'
                yield Check(name, str(dtype).removeprefix('torch.'), output, gradients, limit)


def _errors(device: str, head_dim: int, tokens: int, dtype: torch.dtype) -> tuple[float, float]:
    heads = 2
    torch.manual_seed(0)
    joint = [torch.randn(2, tokens, heads * head_dim * parts, device=device, dtype=dtype) for parts in (1, 2, 2)]
    views = [x.unflatten(-1, (heads, head_dim)) for y, parts in zip(joint, (1, 2, 2)) for x in y.chunk(parts, dim=-1)]
    inputs = [x.detach().requires_grad_() for x in views]
    exact = [x.detach().double().requires_grad_() for x in views]
    _poison(device)
    q, k, v, a, b = inputs
    out = fused.read(q, *fused.write(k, v, a, b, gate_act='sigmoid'), eps=1e-3)
    cotangent = torch.randn(out.shape, device=device).to(dtype)
    grads = torch.autograd.grad(out, inputs, cotangent)
    with fused.fused_kernels(False):
        q, k, v, a, b = exact
        state = write_state(k, v, a.sigmoid(), b.sigmoid())
        truth = read_state(q, KVState(state.kv, state.key, tokens), eps=1e-3)
        true_grads = torch.autograd.grad(truth, exact, cotangent.double())
    return relative_error(out, truth), max(map(relative_error, grads, true_grads))


def relative_error(found: torch.Tensor, truth: torch.Tensor) -> float:
    """Of a whole tensor, in the L2 norm; infinite for what is not a number."""
    error = ((found.double() - truth).norm() / truth.norm().clamp_min(1e-30)).item()
    return error if error == error else float('inf')


def _poison(device: str) -> None:
    """Leave memory full of NaN behind for the next outputs: what a kernel does not write is seen."""
    for size in (POISON_BYTES, POISON_BYTES // 64):
        torch.full((size // 4,), float('nan'), device=device)
