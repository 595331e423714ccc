"""The kernels of :mod:`saga_mm.ops.triton` as operators of PyTorch.

``torch.ops.saga_mm.write_state`` and ``read_state`` have gradients, work on meta tensors, are one node each to
``torch.compile`` and ``torch.export``, and are counted by ``torch.utils.flop_counter``. Call them through
:mod:`saga_mm.ops.fused`, which knows what they take.
"""

from collections.abc import Sequence
from math import prod
from typing import Any

import torch


@torch.library.custom_op('saga_mm::write_state', mutates_args=())
def write_state(
    k: torch.Tensor,
    v: torch.Tensor,
    key_gate: torch.Tensor | None,
    value_gate: torch.Tensor | None,
    feature_map: str,
    gate_act: str,
    normalizer: str,
) -> tuple[torch.Tensor, torch.Tensor]:
    from saga_mm.ops.triton.write import write

    register_flops()
    return write(k, v, (key_gate, value_gate), feature_map, gate_act, normalizer)


@write_state.register_fake
def _(k, v, key_gate, value_gate, feature_map, gate_act, normalizer):
    batch, _, heads, d_k = k.shape
    kv = k.new_empty(batch, heads, d_k, v.shape[-1], dtype=torch.float32)
    return kv, kv.new_empty(batch, heads, d_k)


@torch.library.custom_op('saga_mm::write_state_backward', mutates_args=())
def write_state_backward(
    grads: Sequence[torch.Tensor],
    k: torch.Tensor,
    v: torch.Tensor,
    key_gate: torch.Tensor | None,
    value_gate: torch.Tensor | None,
    feature_map: str,
    gate_act: str,
    normalizer: str,
) -> list[torch.Tensor]:
    from saga_mm.ops.triton.write import write_backward

    return write_backward(*grads, k, v, (key_gate, value_gate), feature_map, gate_act, normalizer)


@write_state_backward.register_fake
def _(grads, k, v, key_gate, value_gate, feature_map, gate_act, normalizer):
    return [x.new_empty(x.shape) for x in (k, v, key_gate, value_gate) if x is not None]


def _keep_written(ctx: Any, inputs: tuple, output: tuple) -> None:
    # the inputs, not what is mapped and gated: the backward kernel computes that again, and memory is what is scarce
    *tensors, ctx.feature_map, ctx.gate_act, ctx.normalizer = inputs
    ctx.save_for_backward(*tensors)


def _write_gradients(ctx: Any, dkv: torch.Tensor, dkey: torch.Tensor) -> tuple:
    # gates that are None have no gradient, but autograd expects an entry for each input
    tensors = ctx.saved_tensors
    grads = iter(write_state_backward([dkv, dkey], *tensors, ctx.feature_map, ctx.gate_act, ctx.normalizer))
    return *(None if x is None else next(grads) for x in tensors), None, None, None


write_state.register_autograd(_write_gradients, setup_context=_keep_written)


@torch.library.custom_op('saga_mm::read_state', mutates_args=())
def read_state(
    q: torch.Tensor, kv: torch.Tensor, key: torch.Tensor, feature_map: str, normalizer: str, eps: float
) -> torch.Tensor:
    from saga_mm.ops.triton.read import read

    register_flops()
    return read(q, kv, key, feature_map, normalizer, eps)


@read_state.register_fake
def _(q, kv, key, feature_map, normalizer, eps):
    return q.new_empty(*q.shape[:3], kv.shape[-1])


@torch.library.custom_op('saga_mm::read_state_backward', mutates_args=())
def read_state_backward(
    dout: torch.Tensor,
    q: torch.Tensor,
    kv: torch.Tensor,
    key: torch.Tensor,
    feature_map: str,
    normalizer: str,
    eps: float,
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    from saga_mm.ops.triton.read import read_backward

    return read_backward(dout, q, kv, key, feature_map, normalizer, eps)


@read_state_backward.register_fake
def _(dout, q, kv, key, feature_map, normalizer, eps):
    return q.new_empty(q.shape), kv.new_empty(kv.shape), key.new_empty(key.shape)


def _keep_read(ctx: Any, inputs: tuple, output: torch.Tensor) -> None:
    *tensors, ctx.feature_map, ctx.normalizer, ctx.eps = inputs
    ctx.save_for_backward(*tensors)


def _read_gradients(ctx: Any, dout: torch.Tensor) -> tuple:
    grads = read_state_backward(dout, *ctx.saved_tensors, ctx.feature_map, ctx.normalizer, ctx.eps)
    return *grads, None, None, None


read_state.register_autograd(_read_gradients, setup_context=_keep_read)


def register_flops() -> None:
    """Tell ``torch.utils.flop_counter`` what the operators cost: two operations for each multiply-accumulate.

    A kernel calls it when it first runs, and :mod:`saga_mm.analysis.macs` when it is imported: the counter imports
    Triton, for which ``import saga_mm`` shall not wait. Call it before you count a model that has not run yet.
    """
    from torch.utils.flop_counter import flop_registry, register_flop_formula

    operators = torch.ops.saga_mm
    if operators.write_state in flop_registry:
        return

    @register_flop_formula(operators.write_state)
    def _write(k_shape: torch.Size, v_shape: torch.Size, *_: Any, **__: Any) -> int:
        return 2 * prod(k_shape) * v_shape[-1]

    @register_flop_formula(operators.write_state_backward)
    def _write_back(grad_shapes: Sequence[torch.Size], k_shape: torch.Size, *_: Any, **__: Any) -> int:
        return 4 * prod(k_shape) * grad_shapes[0][-1]

    @register_flop_formula(operators.read_state)
    def _read(q_shape: torch.Size, kv_shape: torch.Size, *_: Any, **__: Any) -> int:
        return 2 * prod(q_shape) * kv_shape[-1]

    @register_flop_formula(operators.read_state_backward)
    def _read_back(dout_shape: torch.Size, q_shape: torch.Size, *_: Any, **__: Any) -> int:
        return 4 * prod(q_shape) * dout_shape[-1]
