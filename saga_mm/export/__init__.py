"""Export models as ONNX files for images of any size, each compared with PyTorch before it appears."""

from __future__ import annotations

import math
from dataclasses import replace

import torch

from saga_mm.errors import SagaError
from saga_mm.onnx.facts import Facts
from saga_mm.onnx.file import MOST_BYTES

from .checking import largest_difference, measure_bytes_per_pixel
from .graphs import ExportGraph
from .onnx_writer import to_onnx

__all__ = ['write_graph']

# sides of the example image, in multiples of what the graph pads to, less one: padding changes both
EXAMPLE = (5, 6)
LEAST_SIDE = 64


def write_graph(graph: ExportGraph, facts: Facts, opset: int) -> tuple[bytes, Facts, tuple[float, ...]]:
    """The content of a file, checked under ONNX Runtime; its facts; and the differences from PyTorch.

    Raises:
        SagaError: The graph has a part without a form in ONNX, or its answers differ from PyTorch's.
    """
    import onnx

    divisor = max(graph.pad_divisor, 1)
    height, width = (max(part, math.ceil(LEAST_SIDE / divisor) + i) * divisor - 1 for i, part in enumerate(EXAMPLE))
    image = graph.sample(height, width, torch.Generator().manual_seed(0))
    proto = to_onnx(graph, graph.examples(image), graph.outputs(), opset)
    onnx.helper.set_model_props(proto, facts.to_metadata())
    content = proto.SerializeToString()
    if len(content) > MOST_BYTES:
        raise SagaError(f'it takes more than {MOST_BYTES >> 20} MiB')
    differences = largest_difference(graph, content)
    if facts.kind == 'enhancer':
        # strips are for the weights alone, so that whoever runs the file has to know what it takes
        facts = replace(facts, bytes_per_pixel=measure_bytes_per_pixel(graph, content))
        onnx.helper.set_model_props(proto, facts.to_metadata())
        content = proto.SerializeToString()
    return content, facts, differences
