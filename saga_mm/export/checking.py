"""Compare an exported model under ONNX Runtime with PyTorch, and measure its memory."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import torch

from saga_mm.errors import SagaError
from saga_mm.onnx.session import open_session, run_session
from saga_mm.rows.device_memory import peak_bytes, release_memory, used_bytes

from .graphs import ExportGraph

if TYPE_CHECKING:
    import onnxruntime

# none is the size of the example: a size that tracing froze gives another answer, or an error
CHECKED = ((96, 136), (75, 61), (160, 40))
TOLERANCE = 1e-4
# rows and columns of the image whose memory is measured
MEASURED = (512, 512)
MEGABYTE = 2**20


def largest_difference(graph: ExportGraph, content: bytes) -> tuple[float, ...]:
    """Compare an exported model with PyTorch at the sizes :data:`CHECKED`, of which one is odd.

    Args:
        graph: What was exported.
        content: The ONNX model.

    Returns:
        The difference at each size, as :meth:`ExportGraph.difference` defines it.

    Raises:
        SagaError: ONNX Runtime cannot run the model, or an answer differs by more than :data:`TOLERANCE`.
    """
    session, generator = open_session(content, 'cpu'), torch.Generator().manual_seed(0)
    differences = []
    for height, width in CHECKED:
        image = graph.sample(height, width, generator)
        answers = [torch.from_numpy(answer) for answer in _run(session, graph, image)]
        with torch.no_grad():
            differences.append(graph.difference(answers, graph.reference(image)))
    # so written, NaN is refused as well
    if not max(differences) <= TOLERANCE:
        sizes = ', '.join(f'{height}x{width}: {each:.2g}' for (height, width), each in zip(CHECKED, differences))
        raise SagaError(
            f'its answers differ from those of PyTorch by more than {TOLERANCE:g} ({sizes}): a part of this model is '
            'not exported as it is'
        )
    return tuple(differences)


def measure_bytes_per_pixel(graph: ExportGraph, content: bytes) -> int:
    """Memory that ONNX Runtime takes for each pixel of an image on the CPU; 0 where the system does not tell."""
    session = open_session(content, 'cpu')
    image = graph.sample(*MEASURED, torch.Generator().manual_seed(0))
    release_memory()
    before = used_bytes(torch.device('cpu'))
    _run(session, graph, image)
    taken = peak_bytes() - before
    pixels = MEASURED[0] * MEASURED[1]
    # with a GPU, the peak that is told is that of its memory
    return 0 if not before or torch.cuda.is_available() else max(taken + MEGABYTE, 0) // pixels


def _run(session: onnxruntime.InferenceSession, graph: ExportGraph, image: torch.Tensor) -> Sequence:
    given = {name: value.numpy() for name, value in graph.examples(image).items()}
    return run_session(session, given, f'an image of {image.shape[2]}x{image.shape[3]}')
