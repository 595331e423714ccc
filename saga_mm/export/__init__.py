"""Models as ONNX files for images of any size, each compared with PyTorch before it appears."""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

import torch

from saga_mm.errors import ArgumentError, SagaError
from saga_mm.files import Draft
from saga_mm.onnx.facts import Facts
from saga_mm.onnx.file import MOST_BYTES, OPSETS, SUFFIX, require_libraries

from .checking import largest_difference, measure_bytes_per_pixel
from .conversion import to_onnx
from .graphs import ExportGraph
from .sources import ExportOptions, find_subject

__all__ = ['ExportOptions', 'Exported', 'export', 'write_graph']

LIBRARIES = ('onnx', 'onnxscript', 'onnxruntime')
# sides of the example image, in multiples of what the graph pads to, less one: padding changes both
EXAMPLE = (5, 6)
LEAST_SIDE = 64


class Exported(NamedTuple):
    """What was written.

    Attributes:
        path: The file.
        size: Its bytes.
        facts: What the file says of itself.
        differences: From PyTorch's answers, at each size of :data:`saga_mm.export.checking.CHECKED`.
        note: What the user should know; empty if there is nothing.
    """

    path: Path
    size: int
    facts: Facts
    differences: tuple[float, ...]
    note: str


def export(options: ExportOptions) -> Exported:
    """Write a model as one ONNX file with dynamic height and width, once its answers are those of PyTorch.

    Args:
        options: What to export, and how.

    Raises:
        SagaError: A library is missing, an option is not in order, the model cannot be loaded or has a part without a
            form in ONNX, the answers differ, or the file cannot be written.
    """
    path = _destination(options)
    require_libraries(*LIBRARIES, purpose='ONNX export')
    # created first: what follows takes a minute
    with Draft(path) as draft:
        subject = find_subject(options)
        try:
            content, facts, differences = write_graph(subject.graph, subject.facts, options.opset)
        except ArgumentError:
            raise
        except SagaError as error:
            raise SagaError(f'{path}: not written: {error}') from error
        draft.temporary.write_bytes(content)
    return Exported(path, len(content), facts, differences, subject.note)


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


def _destination(options: ExportOptions) -> Path:
    path = Path(options.out or f'{Path(options.source).stem}{SUFFIX}').expanduser()
    if path.suffix != SUFFIX:
        raise SagaError(f'{path}: name the file to write {path.stem}{SUFFIX}')
    if path.is_dir():
        raise SagaError(f'{path}: is a folder; name the file to write')
    if path.exists() and not options.force:
        raise SagaError(f'{path}: exists already; --force replaces it')
    if options.opset not in OPSETS:
        raise ArgumentError('opset', options.opset, f'choose one from {OPSETS[0]} to {OPSETS[-1]}')
    if options.strength is not None and not (math.isfinite(options.strength) and options.strength >= 0):
        raise ArgumentError('strength', options.strength, 'must be a number from 0 on; 1 is the usual')
    return path
