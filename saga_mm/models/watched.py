"""Tell whether a call of a module may be replaced by a function of its weights: no hooks, no other forward."""

from torch import nn


def has_hook(module: nn.Module) -> bool:
    """Whether a forward or backward hook of any kind is registered on the module itself."""
    hooks = module._forward_hooks, module._forward_pre_hooks, module._backward_hooks, module._backward_pre_hooks
    return any(hooks)


def replaced_forward(module: nn.Module) -> bool:
    """Whether the instance was given a ``forward`` of its own, as wrappers for devices and quantisation do."""
    return 'forward' in vars(module)


def is_plain(layer: nn.Module, kind: type[nn.Module]) -> bool:
    """Whether a call of the layer does what ``kind`` does with its weights, and nothing else.

    Only then may a function be applied to the weights in place of a call: a subclass or a wrapper (an adapter, a
    quantised layer), a hook and a replaced ``forward`` all need the call.
    """
    return type(layer) is kind and not has_hook(layer) and not replaced_forward(layer)
