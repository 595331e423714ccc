"""Use of the Triton kernels of :mod:`saga_mm.ops.triton` for writing and reading a state.

:func:`plain_reason_write` and :func:`plain_reason_read` say why a kernel does not take some inputs. Those are for the
plain functions of :mod:`saga_mm.ops.linear_attention`, which compute the same. Triton is imported when a kernel first
runs, not before.

The environment variable ``SAGA_MM_FUSED=0`` switches the kernels off, and so does :func:`fused_kernels` for a while.
"""

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import torch

from . import fused_operators
from .triton import available

TYPES = (torch.float32, torch.bfloat16, torch.float16)
MAPS = ('relu', 'elu+1', 'identity')
GATES = ('identity', 'sigmoid')
# TILES of triton/launch.py has none for wider heads
MAX_HEAD_DIM = 128

_enabled = DEFAULT = os.environ.get('SAGA_MM_FUSED', '1') != '0'
# of the blocks of fused_kernels that are entered, of all threads, in this order
_chosen: dict[object, bool] = {}


@contextmanager
def fused_kernels(enabled: bool = True) -> Iterator[None]:
    """Use the kernels, or do not, inside this block, whatever ``SAGA_MM_FUSED`` says.

    The switch is global, because compiled graphs are guarded by a global and not by what is local to a thread. Where
    blocks of several threads overlap, the last that was entered decides. Results with and without kernels are equal up
    to rounding.

    Args:
        enabled: False leaves everything to plain PyTorch. True does not make the kernels take more than they can.
    """
    global _enabled
    block = object()
    _chosen[block] = _enabled = enabled
    try:
        yield
    finally:
        # not what was found on entering: blocks of threads end in any order
        del _chosen[block]
        _enabled = next(reversed(_chosen.values()), DEFAULT)


def plain_reason(x: torch.Tensor) -> str | None:
    """Why the kernels do not run on tensors of this device and type, as half a sentence; None if they do."""
    if not _enabled:
        return 'the kernels are switched off'
    if x.dtype not in TYPES:
        return 'the kernels take float32, bfloat16 and float16 alone'
    if x.device.type == 'cpu':
        # Triton's interpreter, which is for tests
        if os.environ.get('TRITON_INTERPRET') != '1':
            return 'the kernels run on NVIDIA GPUs alone'
    elif x.device.type != 'cuda':
        return 'the kernels run on NVIDIA GPUs alone'
    elif torch.cuda.get_device_capability(x.device) < (8, 0):
        # tensor cores that multiply bfloat16 and TF32
        return 'the GPU is older than Ampere'
    return None if available() else 'Triton is not installed'


def plain_reason_write(
    k: torch.Tensor,
    v: torch.Tensor,
    key_gate: torch.Tensor | None = None,
    value_gate: torch.Tensor | None = None,
    *,
    feature_map: str | Callable = 'relu',
    gate_act: str = 'identity',
) -> str | None:
    """Why :func:`write` does not take these; None if it does.

    Args:
        k: As all others, as of :func:`write`, but of any shape and type.
    """
    if reason := _plain_reason(feature_map, k, v, key_gate, value_gate):
        return reason
    if gate_act not in GATES:
        return 'there is no kernel for this activation of the gates'
    if k.ndim != 4 or v.ndim != 4 or k.shape[:3] != v.shape[:3]:
        return 'keys and values are not (B, N, heads, d) alike'
    for gate, x in ((key_gate, k), (value_gate, v)):
        if gate is not None and gate.shape not in (x.shape, (*x.shape[:2], 1, x.shape[3])):
            return 'a gate is neither one of all heads nor one of each'
    return _misfit(k, v)


def plain_reason_read(
    q: torch.Tensor, kv: torch.Tensor, key: torch.Tensor, *, feature_map: str | Callable = 'relu'
) -> str | None:
    """Why :func:`read` does not take queries ``(B, M, heads, d)`` and the two parts of a state; None if it does."""
    if reason := _plain_reason(feature_map, q, kv, key):
        return reason
    if kv.dtype != torch.float32 or key.dtype != torch.float32:
        return 'the state is not float32'
    if q.ndim != 4 or kv.ndim != 4 or not kv.shape[:3] == (q.shape[0], *q.shape[2:]) == key.shape:
        return 'the queries do not fit the state'
    return _misfit(q, kv)


def write(
    k: torch.Tensor,
    v: torch.Tensor,
    key_gate: torch.Tensor | None = None,
    value_gate: torch.Tensor | None = None,
    *,
    feature_map: str = 'relu',
    gate_act: str = 'identity',
    normalizer: str = 'plain',
) -> tuple[torch.Tensor, torch.Tensor]:
    """Mean map ``(B, heads, d_k, d_v)`` and mean key ``(B, heads, d_k)`` of tokens, both float32.

    Args:
        k: Keys ``(B, N, heads, d_k)``, before the feature map; any strides.
        v: Values ``(B, N, heads, d_v)``.
        key_gate: ``(B, N, heads or 1, d_k)``: multiplies the mapped keys, after ``gate_act``.
        value_gate: ``(B, N, heads or 1, d_v)``: multiplies the values, after ``gate_act``.
        feature_map: One of :data:`MAPS`.
        gate_act: ``'identity'`` for gates as they are, ``'sigmoid'`` for logits.
        normalizer: ``'gated'`` takes the mean of the gated keys, any other that of the ungated ones.
    """
    return fused_operators.write_state(k, v, key_gate, value_gate, feature_map, gate_act, normalizer)


def read(
    q: torch.Tensor,
    kv: torch.Tensor,
    key: torch.Tensor,
    *,
    feature_map: str = 'relu',
    normalizer: str = 'plain',
    eps: float = 1e-6,
) -> torch.Tensor:
    """Answers ``(B, M, heads, d_v)``, in the type of the queries, to ``q`` from the two parts of a state."""
    return fused_operators.read_state(q, kv, key, feature_map, normalizer, eps)


def _plain_reason(feature_map: str | Callable, *tensors: torch.Tensor | None) -> str | None:
    if not isinstance(feature_map, str) or feature_map not in MAPS:
        return 'there is no kernel for this feature map'
    there = [x for x in tensors if x is not None]
    for x in there:
        if reason := plain_reason(x):
            return reason
    return None if len({x.device for x in there}) == 1 else 'the tensors are on several devices'


def _misfit(left: torch.Tensor, right: torch.Tensor) -> str | None:
    if max(left.shape[-1], right.shape[-1]) > MAX_HEAD_DIM:
        return 'the heads are too wide for a kernel'
    return None if left.numel() > 0 and right.numel() > 0 else 'there are no tokens or no channels'
