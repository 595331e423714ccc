"""A dispatch mode that records the multiply-accumulates and the memory of every operator of a pass."""

from __future__ import annotations

import weakref
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import torch
from torch import nn
from torch._prims_common import suggest_memory_format
from torch._subclasses.fake_tensor import FakeTensor
from torch.nn.modules.module import register_module_forward_hook, register_module_forward_pre_hook
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves, tree_map_only

from .macs import operator_macs

aten = torch.ops.aten
_CONVOLUTIONS = (aten.convolution.default, aten.convolution_backward.default)


@dataclass(frozen=True)
class LargestTensor:
    """The biggest single tensor made: its shape, type, size in bytes, and the operator that made it."""

    shape: tuple[int, ...] = ()
    dtype: torch.dtype | None = None
    bytes: int = 0
    operator: str = ''


@dataclass
class ModuleCost:
    """Cost of one module with everything in it, in the forward pass.

    Attributes:
        parameters: Numbers in its parameters.
        macs: Multiply-accumulates, over all its calls.
        peak_bytes: Most bytes alive at once in the whole model while this module ran.
    """

    parameters: int = 0
    macs: int = 0
    peak_bytes: int = 0


@dataclass
class Cost:
    """Cost of a model at one input size; :func:`measure_cost` says what counts.

    Attributes:
        parameters: Numbers in the parameters, shared ones once.
        macs: Multiply-accumulates of the forward pass.
        backward_macs: Those of the backward pass, with what checkpointing computes again; 0 for inference.
        peak_bytes: Most bytes of activations alive at once, over both passes.
        gradient_bytes: Bytes of the gradients of the parameters, which ``peak_bytes`` leaves out; 0 for inference.
        largest: The biggest tensor made.
        macs_by_operator: Multiply-accumulates of both passes by operator; ``'attention'`` is the fused kind.
        modules: Forward cost by the name of a submodule, such as ``'backbone.stages.0'``, in the order of their first
            calls. What is not called itself, such as a list of blocks, has none.
    """

    parameters: int = 0
    macs: int = 0
    backward_macs: int = 0
    peak_bytes: int = 0
    gradient_bytes: int = 0
    largest: LargestTensor = LargestTensor()
    macs_by_operator: Counter[str] = field(default_factory=Counter)
    modules: dict[str, ModuleCost] = field(default_factory=dict)


class Tracer(TorchDispatchMode):
    """Sees every operator; follows each storage from its making to its end.

    Args:
        module: What will run; hooks are put on it, so a copy.
        external: Tensors whose memory does not count. Their storages must outlive the pass.
    """

    def __init__(self, module: nn.Module, external: list[torch.Tensor]) -> None:
        super().__init__()
        self.cost = Cost()
        self.forward = True
        self.live = 0
        self.sizes: dict[int, int] = {}
        self.references: dict[int, weakref.ref] = {}
        # held, so that no new storage gets the address of one of them
        self.external = {t.untyped_storage()._cdata: t for t in external}
        self.stack: list[ModuleCost] = []
        for parameter in module.parameters():
            if parameter.requires_grad:
                # an accumulated gradient is no activation
                parameter.register_post_accumulate_grad_hook(_drop_gradient)
        self.names = {child: name for name, child in module.named_modules() if name}

    @contextmanager
    def modules_watched(self) -> Iterator[None]:
        """Know which module runs. By hooks on all modules that there are: one with its own may run otherwise."""
        handles = [
            register_module_forward_pre_hook(self._enter),
            register_module_forward_hook(self._leave, always_call=True),
        ]
        try:
            yield
        finally:
            for handle in handles:
                handle.remove()

    def add_macs(self, operator: str, macs: int) -> None:
        if self.forward:
            self.cost.macs += macs
        else:
            self.cost.backward_macs += macs
        self.cost.macs_by_operator[operator] += macs
        for part in self.stack:
            part.macs += macs

    def __torch_dispatch__(
        self, func: torch._ops.OpOverload, types: Any, args: tuple = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        kwargs = kwargs or {}
        if func is torch.ops.prim.device.default:
            return func(*args, **kwargs)
        # in inference mode composite operators come whole; their parts are what counts
        with self:
            parts = func.decompose(*args, **kwargs)
        if parts is not NotImplemented:
            return parts
        out = func(*args, **kwargs)
        if func in _CONVOLUTIONS:
            out = _canonical_layout(args, out)
        if macs := operator_macs(func, args, kwargs, out):
            self.add_macs(str(func.overloadpacket).removeprefix('aten.'), macs)
        of_real = func.is_view and not isinstance(args[0], FakeTensor)
        for tensor in tree_leaves(out):
            if isinstance(tensor, torch.Tensor):
                self._watch(tensor, func, of_real)
        self.cost.peak_bytes = max(self.cost.peak_bytes, self.live)
        for part in self.stack:
            part.peak_bytes = max(part.peak_bytes, self.live)
        return out

    def _watch(self, tensor: torch.Tensor, func: torch._ops.OpOverload, of_real: bool) -> None:
        storage = tensor.untyped_storage()
        address, size = storage._cdata, storage.nbytes()
        if of_real:
            self.external.setdefault(address, tensor)
        if address in self.external:
            return
        if address not in self.sizes:
            self.references[address] = weakref.ref(storage, partial(self._free, address))
        self.live += size - self.sizes.get(address, 0)
        self.sizes[address] = size
        if size > self.cost.largest.bytes:
            self.cost.largest = LargestTensor(tuple(tensor.shape), tensor.dtype, size, str(func.overloadpacket))

    def _free(self, address: int, _: weakref.ref) -> None:
        self.live -= self.sizes.pop(address)
        del self.references[address]

    def _enter(self, module: nn.Module, _: Any) -> None:
        # a checkpointed module runs again during the backward pass
        if self.forward and module in self.names:
            part = self.cost.modules.setdefault(self.names[module], ModuleCost(count_parameters(module)))
            self.stack.append(part)
            part.peak_bytes = max(part.peak_bytes, self.live)

    def _leave(self, module: nn.Module, *_: Any) -> None:
        if self.forward and module in self.names:
            self.stack.pop()


def _canonical_layout(args: tuple, out: torch.Tensor | tuple) -> torch.Tensor | tuple:
    """Give what a convolution makes the layout that most kernels agree on, whichever kernel this machine would pick.

    Channels last if the input or the weight is, otherwise contiguous.
    """
    layouts = {suggest_memory_format(t) for t in args[: 2 if isinstance(out, torch.Tensor) else 3]}
    layout = next((fmt for fmt in layouts if fmt != torch.contiguous_format), torch.contiguous_format)
    rank = args[0].ndim

    def set_layout(t: torch.Tensor) -> torch.Tensor:
        return t.contiguous(memory_format=layout) if t.ndim == rank else t

    return tree_map_only(torch.Tensor, set_layout, out)


def _drop_gradient(parameter: torch.Tensor) -> None:
    parameter.grad = None


def count_parameters(module: nn.Module) -> int:
    """Numbers in a module's parameters, shared ones once."""
    return sum(p.numel() for p in module.parameters())
