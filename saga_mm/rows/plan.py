"""Plan the strips of a model within a memory: their height, and the maps that stay in memory."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from .chunk_size import bytes_of_chunks
from .passes import Part
from .runner import RowRunner
from .storage import Storage

if TYPE_CHECKING:
    from .budget import MemoryBudget


class MemoryTooSmallError(ValueError):
    """No strip fits the memory that was given.

    Attributes:
        smallest: The fewest bytes that would do.
    """

    def __init__(self, given: float, smallest: float) -> None:
        self.smallest = math.ceil(smallest)
        super().__init__(f'{given / 2**20:.1f} MiB are too little: strips need {smallest / 2**20:.1f} MiB at least')


def plan_runner(
    parts: Sequence[Part],
    batch: int,
    memory: float = math.inf,
    folder: str | Path | None = None,
    number: float = 4,
    chunk: float | None = None,
    budget: MemoryBudget | None = None,
) -> RowRunner:
    """Plan how to run parts of a model within a memory: the height of strips, then the maps that stay in memory.

    Of the memory that states leave, half may go to the computation on a strip, or more if the lowest strips need it.
    Maps that do not fit into the rest go to scratch files. Weights and the program itself are not included.

    Args:
        parts: What will be run.
        batch: Images.
        memory: Bytes.
        folder: Where scratch files are; None for the system's folder for temporary files.
        number: As of :class:`RowRunner`.
        chunk: As of :class:`RowRunner`.
        budget: As of :class:`RowRunner`.

    Raises:
        MemoryTooSmallError: Even the lowest strips do not fit.
    """
    chunk = bytes_of_chunks() if chunk is None else chunk
    states = max(part.state_bytes(batch, number) for part in parts)
    smallest = states + max(part.strip_bytes(batch, 0, chunk, number) for part in parts)
    if memory < smallest:
        raise MemoryTooSmallError(memory, smallest)
    # the other half is left to maps, which otherwise go to scratch files
    limit = (memory - states) / 2
    strips = max(part.strip_bytes(batch, limit, chunk, number) for part in parts)
    work = sum(run.row * height for part in parts for run, height in part.passes(batch, number))
    storage = Storage(memory - states - strips, folder)
    return RowRunner(storage, limit, chunk, work=work, number=number, budget=budget)
