"""Write a state: means over tokens of ``(a * phi(k))^T (b * v)`` and of the keys, and the gradients of that."""

import torch
import triton
import triton.language as tl

from .launch import Partials, on_device, plan, strided
from .tiles import (
    GATES,
    MAPS,
    gate_of,
    gate_slope,
    load_map,
    load_tile,
    map_slope,
    mapped,
    product,
    store_map,
    store_tile,
)

Gates = tuple[torch.Tensor | None, torch.Tensor | None]


# compiled once for all sizes of images: as constants, these numbers would have it compiled for each
@triton.jit(do_not_specialize=['tokens', 'chunk'])
def write_kernel(
    k, k_image: tl.int64, k_token, k_head,
    v, v_image: tl.int64, v_token, v_head,
    a, a_image: tl.int64, a_token, a_head,
    b, b_image: tl.int64, b_token, b_head,
    kv, key, tokens, chunk, pairs, heads, scale,
    KEYS: tl.constexpr, VALUES: tl.constexpr, BK: tl.constexpr, BV: tl.constexpr,
    ROWS: tl.constexpr, STAGES: tl.constexpr, MAP: tl.constexpr,
    KEY_GATE: tl.constexpr, VALUE_GATE: tl.constexpr, GATED_KEY: tl.constexpr,
    OPERAND: tl.constexpr, DOT: tl.constexpr, PRECISION: tl.constexpr,
):  # fmt: skip
    program = tl.program_id(0)
    pair, split = program % pairs, program // pairs
    # offsets into large batches do not fit into 32 bits
    image, head = (pair // heads).to(tl.int64), pair % heads
    start = split * chunk
    stop = tl.minimum(start + chunk, tokens)
    token = start.to(tl.int64)
    k += image * k_image + head * k_head + token * k_token
    v += image * v_image + head * v_head + token * v_token
    a += image * a_image + head * a_head + token * a_token
    b += image * b_image + head * b_head + token * b_token
    rows, keys, values = tl.arange(0, ROWS), tl.arange(0, BK), tl.arange(0, BV)
    kv_sum = tl.zeros((BK, BV), tl.float32)
    key_sum = tl.zeros((BK,), tl.float32)
    for first in tl.range(start, stop, ROWS, num_stages=STAGES):
        left = stop - first
        # rows that are not there map to something else than 0
        x = tl.where(rows[:, None] < left, mapped(load_tile(k, k_token, rows, keys, left, KEYS, BK), MAP), 0.0)
        y = load_tile(v, v_token, rows, values, left, VALUES, BV)
        seen = x
        if KEY_GATE:
            x *= gate_of(load_tile(a, a_token, rows, keys, left, KEYS, BK), KEY_GATE)
        if VALUE_GATE:
            y *= gate_of(load_tile(b, b_token, rows, values, left, VALUES, BV), VALUE_GATE)
        if GATED_KEY:
            seen = x
        key_sum += tl.sum(seen, 0)
        kv_sum = product(tl.trans(x), y, kv_sum, OPERAND, DOT, PRECISION)
        k += ROWS * k_token
        v += ROWS * v_token
        a += ROWS * a_token
        b += ROWS * b_token
    # a state for each split, summed afterwards: with atomic additions, rounding would differ from run to run
    state = split.to(tl.int64) * pairs + pair
    store_map(kv + state * KEYS * VALUES, keys, values, kv_sum * scale, KEYS, VALUES)
    tl.store(key + state * KEYS + keys, key_sum * scale, mask=keys < KEYS)


@triton.jit(do_not_specialize=['tokens', 'chunk'])
def write_backward_kernel(
    k, k_image: tl.int64, k_token, k_head,
    v, v_image: tl.int64, v_token, v_head,
    a, a_image: tl.int64, a_token, a_head,
    b, b_image: tl.int64, b_token, b_head,
    dk, dv, da, db, dkv, dkey, tokens, chunk, pairs, heads, scale,
    KEYS: tl.constexpr, VALUES: tl.constexpr, BK: tl.constexpr, BV: tl.constexpr,
    ROWS: tl.constexpr, STAGES: tl.constexpr, MAP: tl.constexpr,
    KEY_GATE: tl.constexpr, VALUE_GATE: tl.constexpr, GATED_KEY: tl.constexpr,
    OPERAND: tl.constexpr, DOT: tl.constexpr, PRECISION: tl.constexpr,
):  # fmt: skip
    program = tl.program_id(0)
    pair, split = program % pairs, program // pairs
    image, head = (pair // heads).to(tl.int64), pair % heads
    start = split * chunk
    stop = tl.minimum(start + chunk, tokens)
    token = start.to(tl.int64)
    k += image * k_image + head * k_head + token * k_token
    v += image * v_image + head * v_head + token * v_token
    a += image * a_image + head * a_head + token * a_token
    b += image * b_image + head * b_head + token * b_token
    # gradients are written as (B, N, heads, d), side by side
    row = (image * tokens + token) * heads + head
    dk += row * KEYS
    dv += row * VALUES
    da += row * KEYS
    db += row * VALUES
    rows, keys, values = tl.arange(0, ROWS), tl.arange(0, BK), tl.arange(0, BV)
    # the state is a mean; its share of a token's gradient is multiplied once here
    kv_grad = load_map(dkv + pair.to(tl.int64) * KEYS * VALUES, keys, values, KEYS, VALUES) * scale
    key_grad = tl.load(dkey + pair * KEYS + keys, mask=keys < KEYS, other=0.0) * scale
    for first in tl.range(start, stop, ROWS, num_stages=STAGES):
        left = stop - first
        x = mapped(load_tile(k, k_token, rows, keys, left, KEYS, BK), MAP)
        y = load_tile(v, v_token, rows, values, left, VALUES, BV)
        gated_x, gated_y = x, y
        if KEY_GATE:
            key_gate = gate_of(load_tile(a, a_token, rows, keys, left, KEYS, BK), KEY_GATE)
            gated_x = x * key_gate
        if VALUE_GATE:
            value_gate = gate_of(load_tile(b, b_token, rows, values, left, VALUES, BV), VALUE_GATE)
            gated_y = y * value_gate
        x_grad = tl.zeros((ROWS, BK), tl.float32)
        x_grad = product(gated_y, tl.trans(kv_grad), x_grad, OPERAND, DOT, PRECISION)
        y_grad = tl.zeros((ROWS, BV), tl.float32)
        y_grad = product(gated_x, kv_grad, y_grad, OPERAND, DOT, PRECISION)
        # the normaliser saw the gated key: its gradient goes through the gate as well
        if GATED_KEY:
            x_grad += key_grad[None, :]
        if KEY_GATE:
            grad = gate_slope(key_gate, x * x_grad, KEY_GATE)
            store_tile(da, heads * KEYS, rows, keys, left, grad, KEYS, BK)
            x_grad *= key_gate
        # it saw the key before the gate
        if not GATED_KEY:
            x_grad += key_grad[None, :]
        store_tile(dk, heads * KEYS, rows, keys, left, map_slope(x, x_grad, MAP), KEYS, BK)
        if VALUE_GATE:
            grad = gate_slope(value_gate, y * y_grad, VALUE_GATE)
            store_tile(db, heads * VALUES, rows, values, left, grad, VALUES, BV)
            y_grad *= value_gate
        store_tile(dv, heads * VALUES, rows, values, left, y_grad, VALUES, BV)
        k += ROWS * k_token
        v += ROWS * v_token
        a += ROWS * a_token
        b += ROWS * b_token
        dk += ROWS * heads * KEYS
        dv += ROWS * heads * VALUES
        da += ROWS * heads * KEYS
        db += ROWS * heads * VALUES


def write(
    k: torch.Tensor, v: torch.Tensor, gates: Gates, feature_map: str, gate_act: str, normalizer: str
) -> tuple[torch.Tensor, torch.Tensor]:
    """Mean map ``(B, heads, d_k, d_v)`` and mean key ``(B, heads, d_k)`` of tokens, in float32.

    Args:
        k: Keys ``(B, N, heads, d_k)``, before the feature map.
        v: Values ``(B, N, heads, d_v)``.
        gates: Of keys and of values, ``(B, N, heads or 1, d)`` each or None.
        feature_map: A name of :data:`~.tiles.MAPS`.
        gate_act: A name of :data:`~.tiles.GATES`.
        normalizer: ``'gated'`` takes the mean of the gated keys, any other that of the ungated ones.
    """
    batch, tokens, heads, d_k = k.shape
    (splits, chunk), constants = plan('write', k, (d_k, v.shape[-1]), v)
    tensors, options = _arguments(k, v, gates, feature_map, gate_act, normalizer)
    partials = Partials(splits, k, (batch, heads, d_k, v.shape[-1]))
    pairs = batch * heads
    with on_device(k):
        write_kernel[(pairs * splits,)](
            *tensors, partials.kv, partials.key, tokens, chunk, pairs, heads, 1 / tokens, **options, **constants
        )
    return partials.sum()


def write_backward(
    dkv: torch.Tensor,
    dkey: torch.Tensor,
    k: torch.Tensor,
    v: torch.Tensor,
    gates: Gates,
    feature_map: str,
    gate_act: str,
    normalizer: str,
) -> list[torch.Tensor]:
    """Gradients of :func:`write`: of keys, values, and of the gates that are there, in the types of these."""
    batch, tokens, heads, d_k = k.shape
    (splits, chunk), constants = plan('write_backward', k, (d_k, v.shape[-1]), v)
    tensors, options = _arguments(k, v, gates, feature_map, gate_act, normalizer)
    grads = [torch.empty(x.shape, dtype=x.dtype, device=x.device) for x in (k, v)]
    for gate, like in zip(gates, (k, v)):
        if gate is not None:
            # a gate of all heads gets one gradient from each
            kind = torch.float32 if gate.shape[2] < heads else gate.dtype
            grads.append(torch.empty(like.shape, dtype=kind, device=like.device))
    rest = iter(grads[2:])
    gate_grads = [like if gate is None else next(rest) for gate, like in zip(gates, grads)]
    pairs = batch * heads
    with on_device(k):
        write_backward_kernel[(pairs * splits,)](
            *tensors, *grads[:2], *gate_grads, dkv.contiguous(), dkey.contiguous(),
            tokens, chunk, pairs, heads, 1 / tokens, **options, **constants,
        )  # fmt: skip
    there = [gate for gate in gates if gate is not None]
    sums = [
        grad if gate.shape[2] == heads else grad.sum(2, keepdim=True).to(gate.dtype)
        for gate, grad in zip(there, grads[2:])
    ]
    return grads[:2] + sums


def _arguments(
    k: torch.Tensor, v: torch.Tensor, gates: Gates, feature_map: str, gate_act: str, normalizer: str
) -> tuple[list, dict]:
    """Tensors with their strides, and the constants, that both kernels take."""
    tensors: list = []
    for x, like in ((k, k), (v, v), (gates[0], k), (gates[1], v)):
        tensors += strided(like if x is None else x.expand(like.shape))
    key_gate, value_gate = (0 if gate is None else GATES[gate_act] for gate in gates)
    options = {
        'MAP': MAPS[feature_map],
        'KEY_GATE': key_gate,
        'VALUE_GATE': value_gate,
        'GATED_KEY': normalizer == 'gated',
    }
    return tensors, options
