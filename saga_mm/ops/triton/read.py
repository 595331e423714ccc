"""Read a state: ``phi(q) S / (phi(q) . z + eps)`` for each query, and the gradients of that."""

import torch
import triton
import triton.language as tl

from .launch import Partials, on_device, plan, strided
from .tiles import MAPS, load_map, load_tile, map_slope, mapped, product, store_map, store_tile


@triton.jit(do_not_specialize=['tokens', 'chunk'])
def read_kernel(
    q, q_image: tl.int64, q_token, q_head,
    kv, key, out, tokens, chunk, pairs, heads, eps,
    KEYS: tl.constexpr, VALUES: tl.constexpr, BK: tl.constexpr, BV: tl.constexpr,
    ROWS: tl.constexpr, STAGES: tl.constexpr, MAP: tl.constexpr, NORMALIZED: tl.constexpr, LIMIT: tl.constexpr,
    OPERAND: tl.constexpr, DOT: tl.constexpr, PRECISION: tl.constexpr,
):  # fmt: skip
    program = tl.program_id(0)
    pair, split = program % pairs, program // pairs
    image, head = (pair // heads).to(tl.int64), pair % heads
    start = split * chunk
    stop = tl.minimum(start + chunk, tokens)
    token = start.to(tl.int64)
    q += image * q_image + head * q_head + token * q_token
    out += ((image * tokens + token) * heads + head) * VALUES
    rows, keys, values = tl.arange(0, ROWS), tl.arange(0, BK), tl.arange(0, BV)
    state = load_map(kv + pair.to(tl.int64) * KEYS * VALUES, keys, values, KEYS, VALUES)
    mean = tl.load(key + pair * KEYS + keys, mask=keys < KEYS, other=0.0)
    for first in tl.range(start, stop, ROWS, num_stages=STAGES):
        left = stop - first
        x = mapped(load_tile(q, q_token, rows, keys, left, KEYS, BK), MAP)
        y = product(x, state, tl.zeros((ROWS, BV), tl.float32), OPERAND, DOT, PRECISION)
        if NORMALIZED:
            y = y / (tl.sum(x * mean[None, :], 1) + eps)[:, None]
        if LIMIT > 0:
            # rounding may lift a mean of the largest numbers above them
            y = tl.clamp(y, -LIMIT, LIMIT, propagate_nan=tl.PropagateNan.ALL)
        store_tile(out, heads * VALUES, rows, values, left, y, VALUES, BV)
        q += ROWS * q_token
        out += ROWS * heads * VALUES


@triton.jit(do_not_specialize=['tokens', 'chunk'])
def read_backward_kernel(
    q, q_image: tl.int64, q_token, q_head,
    dout, g_image: tl.int64, g_token, g_head,
    kv, key, dq, dkv, dkey, tokens, chunk, pairs, heads, eps,
    KEYS: tl.constexpr, VALUES: tl.constexpr, BK: tl.constexpr, BV: tl.constexpr,
    ROWS: tl.constexpr, STAGES: tl.constexpr, MAP: tl.constexpr, NORMALIZED: tl.constexpr,
    OPERAND: tl.constexpr, DOT: tl.constexpr, PRECISION: tl.constexpr,
):  # fmt: skip
    program = tl.program_id(0)
    pair, split = program % pairs, program // pairs
    image, head = (pair // heads).to(tl.int64), pair % heads
    start = split * chunk
    stop = tl.minimum(start + chunk, tokens)
    token = start.to(tl.int64)
    q += image * q_image + head * q_head + token * q_token
    dout += image * g_image + head * g_head + token * g_token
    dq += ((image * tokens + token) * heads + head) * KEYS
    rows, keys, values = tl.arange(0, ROWS), tl.arange(0, BK), tl.arange(0, BV)
    state = load_map(kv + pair.to(tl.int64) * KEYS * VALUES, keys, values, KEYS, VALUES)
    mean = tl.load(key + pair * KEYS + keys, mask=keys < KEYS, other=0.0)
    kv_grad = tl.zeros((BK, BV), tl.float32)
    key_grad = tl.zeros((BK,), tl.float32)
    for first in tl.range(start, stop, ROWS, num_stages=STAGES):
        left = stop - first
        # 0 for rows that are not there
        grad = load_tile(dout, g_token, rows, values, left, VALUES, BV)
        x = mapped(load_tile(q, q_token, rows, keys, left, KEYS, BK), MAP)
        x_grad = product(grad, tl.trans(state), tl.zeros((ROWS, BK), tl.float32), OPERAND, DOT, PRECISION)
        if NORMALIZED:
            # a norm of 1 for rows that are not there: 0 / 0 would spoil the sums over rows
            norm = tl.where(rows < left, tl.sum(x * mean[None, :], 1) + eps, 1.0)
            # out . dout / norm, since out is x state / norm
            norm_grad = -(tl.sum(x * x_grad, 1) / norm) / norm
            x_grad = x_grad / norm[:, None] + norm_grad[:, None] * mean[None, :]
            grad = grad / norm[:, None]
            key_grad += tl.sum(x * norm_grad[:, None], 0)
        kv_grad = product(tl.trans(x), grad, kv_grad, OPERAND, DOT, PRECISION)
        store_tile(dq, heads * KEYS, rows, keys, left, map_slope(x, x_grad, MAP), KEYS, BK)
        q += ROWS * q_token
        dout += ROWS * g_token
        dq += ROWS * heads * KEYS
    part = split.to(tl.int64) * pairs + pair
    store_map(dkv + part * KEYS * VALUES, keys, values, kv_grad, KEYS, VALUES)
    tl.store(dkey + part * KEYS + keys, key_grad, mask=keys < KEYS)


def read(
    q: torch.Tensor, kv: torch.Tensor, key: torch.Tensor, feature_map: str, normalizer: str, eps: float
) -> torch.Tensor:
    """Answers ``(B, M, heads, d_v)`` in the type of the queries; float16 saturates.

    Args:
        q: Queries ``(B, M, heads, d_k)``, before the feature map.
        kv: ``(B, heads, d_k, d_v)``, float32.
        key: ``(B, heads, d_k)``, float32.
        feature_map: A name of :data:`~.tiles.MAPS`.
        normalizer: ``'none'`` does not divide.
        eps: Added to the denominator.
    """
    batch, tokens, heads, _ = q.shape
    (splits, chunk), constants = plan('read', q, kv.shape[2:])
    out = torch.empty((*q.shape[:3], kv.shape[-1]), dtype=q.dtype, device=q.device)
    limit = torch.finfo(q.dtype).max if q.dtype == torch.float16 else 0.0
    pairs = batch * heads
    with on_device(q):
        read_kernel[(pairs * splits,)](
            *strided(q), kv.contiguous(), key.contiguous(), out, tokens, chunk, pairs, heads, eps,
            MAP=MAPS[feature_map], NORMALIZED=normalizer != 'none', LIMIT=limit, **constants,
        )  # fmt: skip
    return out


def read_backward(
    dout: torch.Tensor,
    q: torch.Tensor,
    kv: torch.Tensor,
    key: torch.Tensor,
    feature_map: str,
    normalizer: str,
    eps: float,
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Gradients of :func:`read`: of queries in their type, of the state's map and key in float32."""
    batch, tokens, heads, _ = q.shape
    (splits, chunk), constants = plan('read_backward', q, kv.shape[2:])
    dq = torch.empty(q.shape, dtype=q.dtype, device=q.device)
    partials = Partials(splits, q, kv.shape)
    pairs = batch * heads
    with on_device(q):
        read_backward_kernel[(pairs * splits,)](
            *strided(q), *strided(dout), kv.contiguous(), key.contiguous(), dq, partials.kv, partials.key,
            tokens, chunk, pairs, heads, eps,
            MAP=MAPS[feature_map], NORMALIZED=normalizer != 'none', **constants,
        )  # fmt: skip
    return dq, *partials.sum()
