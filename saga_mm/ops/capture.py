"""Decisions that are safe while a graph is being captured."""

from collections.abc import Sequence

import torch
from torch.fx.experimental.proxy_tensor import get_proxy_mode
from torch.fx.experimental.symbolic_shapes import statically_known_true


def captures_graph() -> bool:
    """Whether a graph is being captured, in which a loop over strips would be frozen at this map's size."""
    return (
        torch.compiler.is_compiling()
        or torch.jit.is_tracing()
        or torch.onnx.is_in_onnx_export()
        or get_proxy_mode() is not None
    )


def known_equal(one: Sequence[int], other: Sequence[int]) -> bool:
    """Whether numbers are equal; False where that depends on the size of a map and a graph for any size is captured.

    Asking in the usual way would make it a graph of those sizes alone for which the answer is the same.
    """
    equal = [a == b for a, b in zip(one, other, strict=True)]
    # torch.jit.trace makes tensors of sizes
    return all(not isinstance(each, torch.Tensor) and statically_known_true(each) for each in equal)
