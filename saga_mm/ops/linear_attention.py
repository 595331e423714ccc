"""The additive state of linear attention.

Per head, tokens write a ``d x d`` map and a ``d`` vector, and any query reads them::

    write:  S = mean_j (a_j * phi(k_j))^T (b_j * v_j),   z = mean_j phi(k_j)
    read:   o_i = phi(q_i) S / (phi(q_i) . z + eps)

States of disjoint token sets add, weighed by their token counts, so an image may be written in parts of any size. The
two gates of a token act as the outer product ``a_j^T b_j`` on its ``k_j^T v_j``; by the mixed-product rule
``(a^T b) * (k^T v) = (a * k)^T (b * v)`` no ``N x d x d`` tensor is ever formed.
"""

from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import NamedTuple

import torch
from torch.amp.autocast_mode import is_autocast_available

from .feature_maps import FeatureMap, get_feature_map

NORMALIZERS = ('plain', 'gated', 'none')


class KVState(NamedTuple):
    """What linear attention keeps of a set of tokens.

    Attributes:
        kv: ``(B, heads, d_k, d_v)``, mean of the gated outer products of keys and values; float32 or float64.
        key: ``(B, heads, d_k)``, mean of the keys that the normaliser sees; same type.
        count: Number of tokens behind the means.
    """

    kv: torch.Tensor
    key: torch.Tensor
    count: int


def linear_attention(
    q: torch.Tensor,
    k: torch.Tensor,
    v: torch.Tensor,
    key_gate: torch.Tensor | None = None,
    value_gate: torch.Tensor | None = None,
    *,
    feature_map: str | FeatureMap = 'relu',
    normalizer: str = 'plain',
    eps: float = 1e-6,
) -> torch.Tensor:
    """Gated linear attention of all queries to all keys, at a cost linear in the number of tokens.

    Args:
        q: Queries ``(B, M, heads, d_k)``.
        k: Keys ``(B, N, heads, d_k)``.
        v: Values ``(B, N, heads, d_v)``.
        key_gate: Multiplies ``phi(k)``; anything that broadcasts to its shape. None leaves the keys alone.
        value_gate: Multiplies ``v``; anything that broadcasts to its shape. None leaves the values alone.
        feature_map: A name of :data:`FEATURE_MAPS` or a callable, applied to ``q`` and ``k``. Already mapped
            (non-negative) inputs pass through the default, ReLU, unchanged.
        normalizer: ``'plain'`` divides by the ungated keys, ``'gated'`` by the gated ones, ``'none'`` does not divide.
        eps: Added to the denominator, which is a mean: it weighs the same for any number of tokens.

    Returns:
        ``(B, M, heads, d_v)`` in the type of ``q``.

    Raises:
        ValueError: If shapes disagree, there is no token, or a name is unknown.
    """
    state = write_state(k, v, key_gate, value_gate, feature_map=feature_map, normalizer=normalizer)
    return read_state(q, state, feature_map=feature_map, normalizer=normalizer, eps=eps)


def write_state(
    k: torch.Tensor,
    v: torch.Tensor,
    key_gate: torch.Tensor | None = None,
    value_gate: torch.Tensor | None = None,
    *,
    feature_map: str | FeatureMap = 'relu',
    normalizer: str = 'plain',
) -> KVState:
    """Write the state of any set of tokens. Arguments as in :func:`linear_attention`."""
    _check_name(normalizer)
    if k.ndim != 4 or v.ndim != 4 or k.shape[:3] != v.shape[:3]:
        raise ValueError(f'keys and values must be (B, N, heads, d) alike, got {tuple(k.shape)} and {tuple(v.shape)}')
    count = k.shape[1]
    if count == 0:
        raise ValueError('a state needs at least one token to be written')
    with _full_precision(k.device.type):
        keys, values = get_feature_map(feature_map)(_wide(k)), _wide(v)
        gated = keys if key_gate is None else keys * _wide(key_gate)
        if value_gate is not None:
            values = values * _wide(value_gate)
        kv = gated.permute(0, 2, 3, 1) @ values.transpose(1, 2)
        key = (gated if normalizer == 'gated' else keys).mean(dim=1)
        return KVState(kv / count, key, count)


def merge_states(states: Sequence[KVState]) -> KVState:
    """State of the union of disjoint token sets; the order does not matter beyond rounding.

    Raises:
        ValueError: If ``states`` is empty.
    """
    if not states:
        raise ValueError('nothing to merge: no states were given')
    total = sum(state.count for state in states)
    kv = sum(state.kv * (state.count / total) for state in states)
    key = sum(state.key * (state.count / total) for state in states)
    return KVState(kv, key, total)


def read_state(
    q: torch.Tensor,
    state: KVState,
    *,
    feature_map: str | FeatureMap = 'relu',
    normalizer: str = 'plain',
    eps: float = 1e-6,
) -> torch.Tensor:
    """Answer queries ``(B, M, heads, d_k)`` from a state. Arguments and result as in :func:`linear_attention`."""
    _check_name(normalizer)
    batch, heads, d_k, _ = state.kv.shape
    if q.ndim != 4 or (q.shape[0], *q.shape[2:]) != (batch, heads, d_k):
        raise ValueError(f'queries {tuple(q.shape)} do not fit a state of (B, heads, d_k) = {(batch, heads, d_k)}')
    with _full_precision(q.device.type):
        queries = get_feature_map(feature_map)(_wide(q)).transpose(1, 2)
        out = queries @ state.kv.to(queries.dtype)
        if normalizer != 'none':
            out = out / (queries @ state.key.to(queries.dtype).unsqueeze(-1) + eps)
        return out.transpose(1, 2).to(q.dtype)


def _full_precision(device_type: str) -> AbstractContextManager:
    # autocast would round the sums to half precision; devices without it (meta) cannot even switch it off
    return torch.autocast(device_type, enabled=False) if is_autocast_available(device_type) else nullcontext()


def _wide(x: torch.Tensor) -> torch.Tensor:
    return x if x.dtype == torch.float64 else x.float()


def _check_name(normalizer: str) -> None:
    if normalizer not in NORMALIZERS:
        raise ValueError(f'unknown normalizer {normalizer!r}; choose one of {", ".join(NORMALIZERS)}')
