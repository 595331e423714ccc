"""Writing and reading a state with the kernels of :mod:`saga_mm.ops.triton`.

:func:`takes_write` and :func:`takes_read` say which inputs the kernels take; everything else is for the plain functions
of :mod:`saga_mm.ops.linear_attention`, which compute the same.

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
MAX_HEAD_DIM = 128

_enabled = os.environ.get('SAGA_MM_FUSED', '1') != '0'


@contextmanager
def fused_kernels(enabled: bool = True) -> Iterator[None]:
    """Use the kernels, or do not, inside this block, whatever ``SAGA_MM_FUSED`` says.

    Args:
        enabled: False leaves everything to plain PyTorch. True does not make the kernels take more than they can.
    """
    global _enabled
    before, _enabled = _enabled, enabled
    try:
        yield
    finally:
        _enabled = before


def fuses(x: torch.Tensor) -> bool:
    """Whether kernels run on tensors of this device and type."""
    return _enabled and x.dtype in TYPES and _runs_on(x.device)


def takes_write(
    k: torch.Tensor,
    v: torch.Tensor,
    key_gate: torch.Tensor | None = None,
    value_gate: torch.Tensor | None = None,
    *,
    feature_map: str | Callable = 'relu',
    gate_act: str = 'identity',
) -> bool:
    """Whether :func:`write` takes these: keys and values ``(B, N, heads, d)``, and gates of all heads or of each."""
    if not _takes(feature_map, k, v, key_gate, value_gate) or gate_act not in GATES:
        return False
    if k.ndim != 4 or v.ndim != 4 or k.shape[:3] != v.shape[:3] or not _fit(k, v):
        return False
    gates = ((key_gate, k), (value_gate, v))
    return all(gate is None or gate.shape in (x.shape, (*x.shape[:2], 1, x.shape[3])) for gate, x in gates)


def takes_read(q: torch.Tensor, kv: torch.Tensor, key: torch.Tensor, *, feature_map: str | Callable = 'relu') -> bool:
    """Whether :func:`read` can be called with these: queries ``(B, M, heads, d)`` and the two parts of a state."""
    if not _takes(feature_map, q, kv, key) or kv.dtype != torch.float32 or key.dtype != torch.float32:
        return False
    if q.ndim != 4 or kv.ndim != 4 or not _fit(q, kv):
        return False
    return kv.shape[:3] == (q.shape[0], *q.shape[2:]) == key.shape


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


def _takes(feature_map: str | Callable, *tensors: torch.Tensor | None) -> bool:
    there = [x for x in tensors if x is not None]
    device = there[0].device
    if not isinstance(feature_map, str) or feature_map not in MAPS:
        return False
    return all(x.device == device and fuses(x) for x in there)


def _fit(left: torch.Tensor, right: torch.Tensor) -> bool:
    widest = max(left.shape[-1], right.shape[-1])
    return widest <= MAX_HEAD_DIM and left.numel() > 0 and right.numel() > 0


def _runs_on(device: torch.device) -> bool:
    if not available():
        return False
    if device.type == 'cpu':
        # Triton's interpreter, which is for tests
        return os.environ.get('TRITON_INTERPRET') == '1'
    # tensor cores that multiply bfloat16 and TF32
    return device.type == 'cuda' and torch.cuda.get_device_capability(device) >= (8, 0)
