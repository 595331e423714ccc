"""Multiply-accumulates and peak memory of activations, by tracing a model without memory for its tensors."""

from __future__ import annotations

import copy
import gc
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial, reduce
from typing import Any

import torch
from torch import nn
from torch._subclasses.fake_tensor import (
    DataDependentOutputException,
    DynamicOutputShapeException,
    FakeTensorMode,
    UnsupportedOperatorException,
)
from torch.utils._pytree import tree_leaves, tree_map_only

from saga_mm.errors import SagaError

from .macs import FusedAttention
from .tracer import Cost, Tracer, count_parameters

_DATA_DEPENDENT = (DataDependentOutputException, DynamicOutputShapeException, UnsupportedOperatorException)
# what torch says when compiled code asks a tensor without memory for its data
_NO_DATA = ('data is not allocated', 'Cannot access data pointer')


class UntraceableError(SagaError):
    """The model does something that depends on the values of its input, so its cost has no single number."""


def measure_cost(model: Callable[..., Any], /, *inputs: Any, training: bool = False, **kwargs: Any) -> Cost:
    """Trace a model and count its multiply-accumulates (MACs) and the activation bytes alive at once.

    Nothing is computed and no memory is used for tensors, so any image size can be measured anywhere; give inputs on
    the meta device, such as ``torch.empty(1, 3, 4096, 4096, device='meta')``. The number depends on the shapes and
    types alone: not on the machine, its kernels, its threads or the device of the model. It is what eager PyTorch
    allocates when it runs operators as on the CPU; a compiler may need less.

    *MACs.* One is a multiplication with its addition, or two FLOPs. Convolutions and matrix products of any kind count,
    with padding and what a mask hides; norms, activations, sums, resizing and pooling do not.

    *Activations.* Every storage that is made during the pass counts from the operator that makes it until its last
    reference goes, views once. Inputs, parameters, buffers and what a kernel uses inside are left out. Attention
    through ``scaled_dot_product_attention`` counts as a fused kernel on every device, so its N x M map never exists;
    written as two products and a softmax, it does. Training is a forward pass, then the backward pass of the sum of all
    outputs; the gradient of a parameter counts until it is accumulated, and is from then on in ``gradient_bytes``.

    Args:
        model: A module, a method of one, or a function. A module is copied without its memory and put in train or eval
            mode; it is itself left as it was. Modules that a function only refers to are not copied, nor their
            parameters counted, and anything they keep would stay in them: give the module instead.
        inputs: Its arguments: tensors, in any nest of lists, tuples and dicts, and anything else.
        training: Count the backward pass too, with what it keeps from the forward pass.
        kwargs: Its keyword arguments.

    Raises:
        UntraceableError: If a shape or a branch depends on the values in a tensor, as in non-maximum suppression, or
            an operator has no rule for shapes.
        SagaError: If ``training`` finds no output that depends on a trainable parameter or input.
    """
    fake_mode = FakeTensorMode(allow_non_fake_inputs=True)
    owner = model if isinstance(model, nn.Module) else getattr(model, '__self__', None)
    external: list[torch.Tensor] = []
    imitate = partial(_imitate, fake_mode, external)
    if isinstance(owner, nn.Module):
        module = _copy_without_memory(owner, imitate).train(training)
        model = module if model is owner else getattr(module, model.__name__)
    else:
        module = nn.Module()
    inputs, kwargs = tree_map_only(torch.Tensor, imitate, (inputs, kwargs))
    tracer = Tracer(module, external)
    with (
        _refusals(),
        _no_collection(),
        # which of several equal contractions einsum takes would depend on an optional package
        torch.backends.opt_einsum.flags(enabled=False),
        torch.set_grad_enabled(training),
        fake_mode,
        tracer,
        tracer.modules_watched(),
        torch.device('cpu'),
        FusedAttention(tracer.add_macs),
    ):
        outputs = model(*inputs, **kwargs)
        if training:
            tracer.forward = False
            loss = _sum_all(outputs)
            del outputs
            # the method of the tensor would switch the attention mode off
            torch.autograd.backward(loss)
    cost = tracer.cost
    cost.parameters = count_parameters(module)
    if training:
        cost.gradient_bytes = sum(p.numel() * p.element_size() for p in module.parameters() if p.requires_grad)
    return cost


def _imitate(fake_mode: FakeTensorMode, external: list[torch.Tensor], tensor: torch.Tensor) -> torch.Tensor:
    """A tensor with the form of ``tensor`` and no memory, which says that it is on the CPU."""
    with fake_mode:
        fake = torch.empty_strided(tensor.shape, tensor.stride(), dtype=tensor.dtype, device='cpu')
    external.append(fake)
    if isinstance(tensor, nn.Parameter):
        return nn.Parameter(fake, tensor.requires_grad)
    return fake.requires_grad_(tensor.requires_grad)


def _copy_without_memory(module: nn.Module, imitate: Callable[[torch.Tensor], torch.Tensor]) -> nn.Module:
    memo: dict[int, Any] = {}
    for child in module.modules():
        for holder in (child._parameters, child._buffers, vars(child)):
            for tensor in holder.values():
                if isinstance(tensor, torch.Tensor) and id(tensor) not in memo:
                    memo[id(tensor)] = imitate(tensor)
    return copy.deepcopy(module, memo)


def _sum_all(outputs: Any) -> torch.Tensor:
    sums = [t.sum() for t in tree_leaves(outputs) if isinstance(t, torch.Tensor) and t.requires_grad]
    if not sums:
        raise SagaError('no output depends on a trainable parameter: there is nothing to train; measure inference')
    return reduce(torch.add, sums)


@contextmanager
def _refusals() -> Iterator[None]:
    """Say in our words that an operator needs the data that is not there."""
    cure = 'measure the parts before it by themselves'
    try:
        yield
    except _DATA_DEPENDENT as error:
        what = f'the result of {error.func} depends on the values of the input'
        raise UntraceableError(f'the cost cannot be traced: {what}; {cure}') from error
    except RuntimeError as error:
        if not any(words in str(error) for words in _NO_DATA):
            raise
        what = 'a compiled operator reads the values of its input'
        raise UntraceableError(f'the cost cannot be traced: {what}; {cure}') from error


@contextmanager
def _no_collection() -> Iterator[None]:
    """Keep the garbage collector from freeing tensors at a moment of its own choosing."""
    enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if enabled:
            gc.enable()
