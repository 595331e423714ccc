"""Plan how a model runs on a band within the memory of a process."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from pathlib import Path

from torch import nn

from saga_mm.errors import SagaError
from saga_mm.rows import MemoryBudget, Part, Rows

from .band_runner import BandRunner
from .bands import Bands
from .mesh import Mesh

# rows and columns of an image that all strides divide
PROBE = 2**14, 64


def unit_of(parts: Callable[[int, int], Sequence[Part]]) -> int:
    """Rows of an image to one of the coarsest map of a model.

    Args:
        parts: What is run of an image of so many rows and columns.
    """
    height = PROBE[0]
    for part in parts(*PROBE):
        rows = part.height
        for step in part.steps:
            rows = -(-rows // step.stride)
        height = min(height, rows)
    return round(PROBE[0] / height)


def unit_in_training(parts: Callable[..., Sequence[Part]], model: nn.Module) -> int:
    """As :func:`unit_of`, of a model that is going to train.

    Args:
        parts: What is run of the model, a number of images, and their rows and columns.
        model: The model.

    Raises:
        SagaError: A part of the model does not run in strips.
    """
    training = model.training
    model.eval()
    try:
        return unit_of(lambda *probe: parts(model, 1, *probe))
    except ValueError as error:
        raise SagaError(f'--bands: this model cannot be divided: {error}') from error
    finally:
        model.train(training)


def plan_bands(
    model: nn.Module,
    bands: Bands,
    parts: Sequence[Part],
    image: Rows,
    max_memory: int | None = None,
    held: float = 0,
    folder: str | Path | None = None,
) -> BandRunner:
    """A runner for the band of this process, in strips within what this process may take.

    Args:
        model: For its device and type.
        bands: How maps are divided.
        parts: What is run of the whole image.
        image: The whole image.
        max_memory: Bytes that this process may take; None for its part of half of what is free.
        held: As of :meth:`MemoryBudget.plan`.
        folder: As of :meth:`MemoryBudget.plan`.

    Raises:
        SagaError: The memory is too small; the message says which is not.
    """
    budget = MemoryBudget.of(model, max_memory)
    if max_memory is None and budget.device.type == 'cpu':
        # the processes of a machine share what is free
        share = (budget.allowed - budget.used) / local_processes(bands.mesh)
        budget = MemoryBudget.of(model, int(budget.used + share))
    own = []
    for part in parts:
        start, stop = bands.own(part.height)
        # this band's rows, and states of the tokens of all bands
        own.append(part._replace(height=stop - start, tokens=part.height * part.width))
    return BandRunner(bands, budget.plan(own, image, held, folder))


def local_processes(mesh: Mesh) -> int:
    """Processes on this machine, as torchrun or Slurm says; all of them if neither does."""
    for name in ('LOCAL_WORLD_SIZE', 'SLURM_NTASKS_PER_NODE'):
        if os.environ.get(name, '').isdecimal():
            return max(int(os.environ[name]), 1)
    return mesh.bands * mesh.replicas
