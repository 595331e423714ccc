"""The additive state of linear attention.

Per head, tokens write a ``d x d`` map and a ``d`` vector, and any query reads them::

    write:  S = mean_j (a_j * phi(k_j))^T (b_j * v_j),   z = mean_j phi(k_j)
    read:   o_i = phi(q_i) S / (phi(q_i) . z + eps)

States of disjoint token sets add, weighed by their token counts, so an image may be written in parts of any size. Where
tokens have weights (RALA), means are weighted means, and a state carries the logarithm of its total weight to add by.

The two gates of a token act as the outer product ``a_j^T b_j`` on its ``k_j^T v_j``; by the mixed-product rule
``(a^T b) * (k^T v) = (a * k)^T (b * v)`` no ``N x d x d`` tensor is ever formed.
"""

from collections.abc import Callable, Iterable, Sequence
from typing import NamedTuple

import torch

from . import fused
from .feature_maps import FeatureMap, get_feature_map
from .precision import full_precision, wide

NORMALIZERS = ('plain', 'gated', 'none')
Rotate = Callable[[torch.Tensor], torch.Tensor]


class Gates(NamedTuple):
    """How each token is weighed when it is written; None leaves it as it is.

    Attributes:
        key: ``a``, which multiplies ``phi(k)``; four dimensions that broadcast to its shape.
        value: ``b``, which multiplies ``v``; four dimensions that broadcast to its shape.
        log_weights: Logarithms of the weights ``w`` of the tokens, ``(B, N, heads)``: all means become
            ``sum_j w_j (...) / sum_j w_j``.
        act: ``'sigmoid'`` if ``key`` and ``value`` are given as logits, ``'identity'`` if as they are.
    """

    key: torch.Tensor | None = None
    value: torch.Tensor | None = None
    log_weights: torch.Tensor | None = None
    act: str = 'identity'


OPEN = Gates()


class KVState(NamedTuple):
    """What linear attention keeps of a set of tokens.

    Attributes:
        kv: ``(B, heads, d_k, d_v)``, mean of the gated outer products of keys and values; float32 or float64.
        key: ``(B, heads, d_k)``, mean of the keys that the normaliser sees; same type.
        count: Number of tokens behind the means.
        log_weight: ``(B, heads)``, logarithm of the sum of the tokens' weights, or None where each weighs 1.
    """

    kv: torch.Tensor
    key: torch.Tensor
    count: int
    log_weight: torch.Tensor | None = None


def linear_attention(
    q: torch.Tensor,
    k: torch.Tensor,
    v: torch.Tensor,
    gates: Gates = OPEN,
    *,
    feature_map: str | FeatureMap = 'relu',
    normalizer: str = 'plain',
    rotate: Rotate | None = None,
    eps: float = 1e-6,
) -> torch.Tensor:
    """Gated linear attention of all queries to all keys, at a cost linear in the number of tokens.

    Args:
        q: Queries ``(B, M, heads, d_k)``.
        k: Keys ``(B, N, heads, d_k)``.
        v: Values ``(B, N, heads, d_v)``.
        gates: How the tokens are weighed.
        feature_map: A name of :data:`FEATURE_MAPS` or a callable, applied to ``q`` and ``k``. Already mapped
            (non-negative) inputs pass through the default, ReLU, unchanged.
        normalizer: ``'plain'`` divides by the ungated keys, ``'gated'`` by the gated ones, ``'none'`` does not divide.
        rotate: Turns mapped queries, and mapped and gated keys, by their place; the normaliser sees them unturned.
            Queries and keys stand at the same places here; else write and read with a rotation each.
        eps: Added to the denominator, which is a mean: it weighs the same for any number of tokens.

    Returns:
        ``(B, M, heads, d_v)`` in the type of ``q``.

    Raises:
        ValueError: If shapes disagree, there is no token, or a name is unknown.
    """
    options = {'feature_map': feature_map, 'normalizer': normalizer, 'rotate': rotate}
    return read_state(q, write_state(k, v, gates, **options), **options, eps=eps)


def write_state(
    k: torch.Tensor,
    v: torch.Tensor,
    gates: Gates = OPEN,
    *,
    feature_map: str | FeatureMap = 'relu',
    normalizer: str = 'plain',
    rotate: Rotate | None = None,
) -> KVState:
    """Write the state of any set of tokens. A fused kernel does it where one takes such tokens.

    Arguments and errors are those of :func:`linear_attention`.
    """
    _check_name(normalizer)
    key_gate, value_gate, log_weights, act = gates
    if act not in fused.GATES:
        raise ValueError(f'unknown act {act!r} of gates; choose one of {", ".join(fused.GATES)}')
    if k.ndim != 4 or v.ndim != 4 or k.shape[:3] != v.shape[:3]:
        raise ValueError(f'keys and values must be (B, N, heads, d) alike, got {tuple(k.shape)} and {tuple(v.shape)}')
    if log_weights is not None and log_weights.shape != k.shape[:3]:
        raise ValueError(f'log_weights must be (B, N, heads) = {tuple(k.shape[:3])}, got {tuple(log_weights.shape)}')
    count = k.shape[1]
    if count == 0:
        raise ValueError('a state needs at least one token to be written')
    options = {'feature_map': feature_map, 'gate_act': act}
    # kernels know neither weights of tokens nor rotations
    if log_weights is rotate is None and fused.plain_reason_write(k, v, key_gate, value_gate, **options) is None:
        return KVState(*fused.write(k, v, key_gate, value_gate, **options, normalizer=normalizer), count)
    # in at least float32: half precision would round the sigmoid of large logits to 1
    if act == 'sigmoid':
        key_gate, value_gate = (None if gate is None else wide(gate).sigmoid() for gate in (key_gate, value_gate))
    with full_precision(k.device.type):
        keys, values = get_feature_map(feature_map)(wide(k)), wide(v)
        total = None
        if log_weights is not None:
            logs = wide(log_weights)
            total = logs.logsumexp(dim=1)
            # relative to these tokens; merging multiplies by the share of their total weight
            keys = keys * logs.softmax(dim=1).unsqueeze(-1)
        # the normaliser has its sum of keys before the rotation, which could make products negative
        if rotate is not None:
            gated = keys if key_gate is None else keys * wide(key_gate)
            key = (gated if normalizer == 'gated' else keys).sum(dim=1)
            gated = rotate(gated).transpose(1, 2)
        else:
            # heads before tokens, then gates: so a compiler leaves the last transpose to the product
            gated = keys.transpose(1, 2)
            if key_gate is not None:
                gated = gated * wide(key_gate).transpose(1, 2)
            key = gated.sum(dim=2) if normalizer == 'gated' else keys.sum(dim=1)
        if value_gate is not None:
            values = values * wide(value_gate)
        # the product itself sums over tokens: (d_k, N) by (N, d_v)
        kv = gated.transpose(2, 3) @ values.transpose(1, 2)
        # means, so that numbers and epsilon mean the same for any number of tokens
        if total is None:
            kv, key = kv / count, key / count
        return KVState(kv, key, count, total)


def write_mean(x: torch.Tensor) -> KVState:
    """A state that keeps a mean alone: its ``key`` is the mean of ``x``, ``(B, N, heads, d)``, and ``kv`` is empty."""
    return write_state(x, x[..., :0], feature_map='identity')


def merge_states(states: Sequence[KVState]) -> KVState:
    """State of the union of disjoint token sets; the order does not matter beyond rounding.

    Raises:
        ValueError: If ``states`` is empty, or only some of them have token weights.
    """
    if not states:
        raise ValueError('nothing to merge: no states were given')
    if len({state.log_weight is None for state in states}) > 1:
        raise ValueError('states with and without token weights do not add')
    # counts are Python's integers: float32 would stop to count at 2 ** 24 tokens, 4096 x 4096
    count = sum(state.count for state in states)
    kvs, keys = [state.kv for state in states], [state.key for state in states]
    if states[0].log_weight is None:
        shares = [state.count / count for state in states]
        return KVState(_weighted_sum(kvs, shares), _weighted_sum(keys, shares), count)
    logs = torch.stack([state.log_weight for state in states])
    # of logarithms: weights are exponentials of scores, and would overflow
    shares = logs.softmax(dim=0).unsqueeze(-1)
    kv, key = _weighted_sum(kvs, shares.unsqueeze(-1)), _weighted_sum(keys, shares)
    return KVState(kv, key, count, logs.logsumexp(dim=0))


def read_state(
    q: torch.Tensor,
    state: KVState,
    *,
    feature_map: str | FeatureMap = 'relu',
    normalizer: str = 'plain',
    rotate: Rotate | None = None,
    eps: float = 1e-6,
) -> torch.Tensor:
    """Answer queries ``(B, M, heads, d_k)`` from a state. Arguments and result as in :func:`linear_attention`."""
    _check_name(normalizer)
    batch, heads, d_k, _ = state.kv.shape
    if q.ndim != 4 or (q.shape[0], *q.shape[2:]) != (batch, heads, d_k):
        raise ValueError(f'queries {tuple(q.shape)} do not fit a state of (B, heads, d_k) = {(batch, heads, d_k)}')
    if rotate is None and fused.plain_reason_read(q, state.kv, state.key, feature_map=feature_map) is None:
        return fused.read(q, state.kv, state.key, feature_map=feature_map, normalizer=normalizer, eps=eps)
    with full_precision(q.device.type):
        mapped = get_feature_map(feature_map)(wide(q))
        queries = mapped.transpose(1, 2)
        turned = queries if rotate is None else rotate(mapped).transpose(1, 2)
        out = turned @ state.kv.to(queries.dtype)
        if normalizer != 'none':
            out = out / (queries @ state.key.to(queries.dtype).unsqueeze(-1) + eps)
        # wide up to here; the answer has the type of the queries, which is that of the layers behind it
        return out.transpose(1, 2).to(q.dtype)


def read_key(q: torch.Tensor, state: KVState, *, feature_map: str | FeatureMap = 'relu') -> torch.Tensor:
    """The normaliser alone, ``phi(q_i) . z``, for queries ``(B, M, heads, d_k)``: ``(B, M, heads, 1)``."""
    return read_state(q, state._replace(kv=state.key.unsqueeze(-1)), feature_map=feature_map, normalizer='none')


def _weighted_sum(parts: Sequence[torch.Tensor], shares: Iterable[float | torch.Tensor]) -> torch.Tensor:
    return sum(part * share for part, share in zip(parts, shares, strict=True))


def _check_name(normalizer: str) -> None:
    if normalizer not in NORMALIZERS:
        raise ValueError(f'unknown normalizer {normalizer!r}; choose one of {", ".join(NORMALIZERS)}')
