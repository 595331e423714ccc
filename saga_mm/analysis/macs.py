"""Multiply-accumulates of each operator, and attention as the fused kernels compute it."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import torch
import torch.nn.functional as F
from torch.autograd.function import once_differentiable
from torch.overrides import TorchFunctionMode
from torch.utils.flop_counter import conv_flop_count, flop_registry

from saga_mm.ops.fused_operators import register_flops

register_flops()

aten = torch.ops.aten
_fused_attention = F.scaled_dot_product_attention


def operator_macs(func: torch._ops.OpOverload, args: tuple, kwargs: dict[str, Any], out: Any) -> int:
    """Multiply-accumulates of one call of an operator: convolutions and matrix products; 0 for everything else.

    The formulas are those of ``torch.utils.flop_counter``, halved, so one registered there for an operator of your
    own counts as well. Those that it lacks, or that are wrong for groups, are here.

    Args:
        func: The operator.
        args: Its positional arguments.
        kwargs: Its keyword arguments.
        out: Its result.
    """
    packet = _out_of_place(func.overloadpacket)
    if packet in _OWN_FORMULAS:
        return _OWN_FORMULAS[packet](*args)
    if packet in flop_registry:
        return flop_registry[packet](*args, **kwargs, out_val=out) // 2
    return 0


def _out_of_place(packet: torch._ops.OpOverloadPacket) -> torch._ops.OpOverloadPacket:
    """Of ``baddbmm_``, which overwrites its first argument, ``baddbmm``: the same arithmetic."""
    name = packet.__name__
    return getattr(aten, name[:-1], packet) if name.endswith('_') and not name.endswith('__') else packet


def _convolution_backward(
    grad: torch.Tensor, x: torch.Tensor, weight: torch.Tensor, bias, stride, padding, dilation, transposed: bool, *rest
) -> int:
    # each gradient costs what the forward does; torch's own formula counts grouped weight gradients groups times over
    forward = conv_flop_count(x.shape, weight.shape, grad.shape, transposed) // 2
    return forward * sum(rest[-1][:2])


_OWN_FORMULAS: dict[Any, Callable[..., int]] = {
    aten.convolution_backward: _convolution_backward,
    aten.mv: lambda matrix, vector: matrix.numel(),
    aten.addmv: lambda bias, matrix, vector: matrix.numel(),
    aten.dot: lambda left, right: left.numel(),
    aten.vdot: lambda left, right: left.numel(),
    aten.addbmm: lambda bias, left, right: left.numel() * right.shape[-1],
}


class FusedAttention(TorchFunctionMode):
    """Let every ``scaled_dot_product_attention`` count as one fused kernel, whatever its inputs and the device.

    PyTorch picks a kernel by device, type, mask and shape; where none fits it makes the N x M map after all. Here the
    map never exists: the call costs its two products, gives its output and, for a backward pass, the log-sum-exp of
    each query. Masked-out pairs count too. The backward pass makes the scores again: five products.

    Args:
        count: Receives the multiply-accumulates of each call.
    """

    def __init__(self, count: Callable[[str, int], None]) -> None:
        super().__init__()
        self.count = count

    def __enter__(self) -> FusedAttention:
        # a mode is off inside the functions that torch writes in Python, multi_head_attention_forward among them
        F.scaled_dot_product_attention = self._attention
        return super().__enter__()

    def __exit__(self, *error: Any) -> None:
        F.scaled_dot_product_attention = _fused_attention
        super().__exit__(*error)

    def __torch_function__(
        self, func: Callable[..., Any], types: Any, args: tuple = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        kwargs = kwargs or {}
        return (self._attention if func is _fused_attention else func)(*args, **kwargs)

    def _attention(
        self,
        query: torch.Tensor,
        key: torch.Tensor,
        value: torch.Tensor,
        attn_mask: torch.Tensor | None = None,
        dropout_p: float = 0.0,
        is_causal: bool = False,
        scale: float | None = None,
        enable_gqa: bool = False,
    ) -> torch.Tensor:
        groups = query.shape[-3] // key.shape[-3] if enable_gqa else 1
        heads = [t.shape[:-3] + (t.shape[-3] * groups,) if enable_gqa else t.shape[:-2] for t in (key, value)]
        batch = torch.broadcast_shapes(query.shape[:-2], *heads)
        scores = (*batch, query.shape[-2], key.shape[-2])
        if query.shape[-1] != key.shape[-1] or key.shape[-2] != value.shape[-2]:
            shapes = ', '.join(str(tuple(t.shape)) for t in (query, key, value))
            raise ValueError(f'query, key and value do not fit each other: {shapes}')
        if attn_mask is not None:
            torch.broadcast_shapes(attn_mask.shape, scores)
        inputs = (query, key, value, attn_mask)
        differentiable = torch.is_grad_enabled() and any(t is not None and t.requires_grad for t in inputs)
        return _Attention.apply(*inputs, scores, differentiable, self.count)


class _Attention(torch.autograd.Function):
    @staticmethod
    def forward(ctx, query, key, value, mask, scores, differentiable, count):
        ctx.scores, ctx.count = scores, count
        count('attention', math.prod(scores) * (query.shape[-1] + value.shape[-1]))
        shape = (*scores[:-1], value.shape[-1])
        if len(shape) > 3:
            # the fused kernels store heads last but one, so that merging them is a view
            out = query.new_empty((*shape[:-3], shape[-2], shape[-3], shape[-1])).transpose(-2, -3)
        else:
            out = query.new_empty(shape)
        if differentiable:
            statistics = torch.promote_types(query.dtype, torch.float32)
            ctx.save_for_backward(query, key, value, mask, out, query.new_empty(scores[:-1], dtype=statistics))
        return out

    @staticmethod
    @once_differentiable
    def backward(ctx, grad):
        query, key, value, mask, _, _ = ctx.saved_tensors
        ctx.count('attention backward', math.prod(ctx.scores) * (3 * query.shape[-1] + 2 * value.shape[-1]))
        grads = [
            torch.empty_like(t) if needed else None
            for t, needed in zip((query, key, value), ctx.needs_input_grad, strict=False)
        ]
        if ctx.needs_input_grad[3]:
            # kernels that learn a bias give its gradient for every image and head
            grads.append(mask.new_empty(ctx.scores).sum_to_size(mask.shape))
        else:
            grads.append(None)
        return (*grads, None, None, None)
