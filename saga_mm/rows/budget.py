"""The memory budget of a program, and the plan of strips within it."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path

import torch
from torch import nn

from saga_mm.errors import ArgumentError, SagaError
from saga_mm.ops.precision import number_bytes

from .chunk_size import bytes_of_chunks
from .device_memory import free_bytes, trim_memory, used_bytes
from .engine import TORCH, Engine, engine_of
from .passes import Part
from .plan import MemoryTooSmallError, plan_runner
from .runner import RowRunner
from .storage import Rows

# share of the free memory that a program may use if no limit is given
SHARE = 0.5
# memory of the running program beside maps and strips
SLACK = 64 * 2**20
# the share of what is left that is planned, since an allocator holds more than what is in use
USABLE = 0.65
# the share of what is left that compiled steps may hold
HELD = 0.5
# the share of what is left beyond which the allocator has to give back what it keeps
TRIMMED = 0.6
# one pass over a whole image that takes more than this is run in strips on a CPU, where they are as fast
LARGE = 2**30


class MemoryBudget:
    """What a program may take of the memory of a device, what of that is in use, and what is left for strips.

    Args:
        device: The device.
        allowed: Bytes that the whole program may take, weights and libraries included (on a GPU: of its memory); None
            for half of what is free at the time, beside what is in use.
        dtype: Type of the numbers that are computed.
        large: Bytes of one pass over a whole image beyond which :meth:`takes_whole` asks for strips, even if it fits;
            None for :data:`LARGE` on a CPU, and no such limit on a GPU, which computes whole images faster.
        engine: Where planned runners run steps; None for PyTorch.

    Attributes:
        number: Bytes of a number, as steps count them.
        parts: What was run last; none before.
        batch: How many images at once.
        runner: How, in strips; None for one piece.
    """

    def __init__(
        self,
        device: torch.device,
        allowed: int | None = None,
        dtype: torch.dtype = torch.float32,
        large: float | None = None,
        engine: Engine | None = None,
    ) -> None:
        self.device, self.number = device, number_bytes(dtype)
        self.large = (LARGE if device.type == 'cpu' else math.inf) if large is None else large
        self._given, self._trimmed = allowed, math.inf
        self.engine = engine or Engine()
        self._plan, self._storage = '', None
        self.parts: Sequence[Part] = ()
        self.batch, self.runner = 1, None

    @classmethod
    def of(cls, model: nn.Module, max_memory: int | MemoryBudget | None = None) -> MemoryBudget:
        """The budget of a model, where it is now and of its type; one that is a budget already stays as it is."""
        if isinstance(max_memory, MemoryBudget):
            return max_memory
        weight = next(model.parameters(), torch.empty(0))
        return cls(weight.device, max_memory, weight.dtype, engine=engine_of(model))

    @property
    def is_given(self) -> bool:
        """Whether a limit was given."""
        return self._given is not None

    @property
    def used(self) -> int:
        """Bytes that the program holds now."""
        return used_bytes(self.device)

    @property
    def allowed(self) -> float:
        """Bytes that the program may take."""
        return self.used + SHARE * free_bytes(self.device) if self._given is None else self._given

    def left(self, held: float = 0) -> float:
        """Bytes that can be planned for maps and strips; below 0 where too much is in use.

        Args:
            held: Bytes that the program will hold beside them and does not hold yet.
        """
        return (self.allowed - self.used - SLACK - held) * USABLE

    def takes_whole(self, parts: Sequence[Part], batch: int = 1, held: float = 0) -> bool:
        """Whether one pass over whole images fits, and is small enough to be run whole.

        Args:
            parts: What would be run.
            batch: Images.
            held: As of :meth:`left`.
        """
        self._plan, self._storage = 'in one piece', None
        self.parts, self.batch, self.runner = parts, batch, None
        size = max(part.whole_bytes(batch, self.number) for part in parts)
        if self.left(held) < size <= self.large:
            # what an earlier image left to the engine
            self.engine.release()
        return size <= min(self.left(held), self.large)

    def plan(self, parts: Sequence[Part], image: Rows, held: float = 0, folder: str | Path | None = None) -> RowRunner:
        """Plan how to run the parts of a model over an image in strips, within the memory that is left.

        Without a given limit, the lowest strips may take more than half of the free memory.

        Args:
            parts: What will be run.
            image: For its size.
            held: As of :meth:`left`.
            folder: Where maps go that do not fit; None for the system's folder for temporary files.

        Raises:
            SagaError: The memory is too small; the message says which limit is not.
        """
        # what an earlier image left to the engine and the allocator is not in use
        self.engine.release()
        self._give_back()
        used, allowed = self.used, self.allowed
        engine = self._strip_engine(parts, image.batch, allowed - used - SLACK - held)
        chunk = engine.chunk if self.device.type == 'cpu' else bytes_of_chunks(self.device.type)
        taken = used + SLACK + held + engine.holds(parts, image.batch, self.number)

        def plan(memory: float) -> RowRunner:
            return plan_runner(parts, image.batch, memory, folder, self.number, chunk, self)

        try:
            runner = plan((allowed - taken) * USABLE)
        except MemoryTooSmallError as error:
            needed = taken + error.smallest / USABLE
            most = allowed if self.is_given else used + free_bytes(self.device)
            if needed > most:
                raise self._too_small(image, most, needed) from error
            allowed, runner = needed, plan(error.smallest)
        runner.engine = engine
        # strips of many widths leave gaps that cannot be used again, and small states pin what was freed around them
        self._trimmed = used + TRIMMED * (allowed - used)
        self._plan, self._storage = _strips(parts, image, runner), runner.storage
        self.parts, self.batch, self.runner = parts, image.batch, runner
        return runner

    def _strip_engine(self, parts: Sequence[Part], batch: int, room: float) -> Engine:
        """The engine that runs strips: PyTorch where what compiled steps hold would leave too little of the room."""
        engine = self.engine.strip_engine
        held = engine.holds(parts, batch, self.number)
        if not held or held <= room * HELD:
            engine.reasons.pop('strips', None)
            return engine
        engine.note(
            'strips', f'compiled steps would hold {_mib(held)}, and {_mib(room * HELD)} of the memory may go to them'
        )
        return TORCH

    def trim(self) -> None:
        """Return memory that the allocator keeps to the system, if the program holds more than was planned."""
        cuda = self.device.type == 'cuda'
        if (torch.cuda.memory_reserved(self.device) if cuda else self.used) > self._trimmed:
            self._give_back()

    def explain(self) -> str:
        """A sentence on the memory as it is now, and on what was run last.

        Such as ``2.0 GiB allowed, 0.6 GiB in use, 0.9 GiB for strips: 12 strips of 256 rows, maps in memory``.
        """
        half = '' if self.is_given else ' (half of what is free)'
        text = f'{_gib(self.allowed)} allowed{half}, {_gib(self.used)} in use'
        if self._storage is None and self._plan:
            return f'{text}: {self._plan}'
        text += f', {_gib(max(self.left(), 0))} for strips'
        if self._storage is None:
            return text
        filed = self._storage.filed
        return f'{text}: {self._plan}, {f"{_gib(filed)} of maps in scratch files" if filed else "maps in memory"}'

    def _give_back(self) -> None:
        if self.device.type == 'cuda':
            torch.cuda.empty_cache()
        else:
            trim_memory()

    def _too_small(self, image: Rows, most: float, needed: float) -> SagaError:
        # a program does not hold the same to the megabyte when it is run again
        smallest = f'{math.ceil(needed / 2**20 / 10 + 0.5) * 10}MB'
        problem = f'too little for {image.width} x {image.height} pixels; the smallest that works is {smallest}'
        given = f'{most / 2**20:.0f}MB'
        if not self.is_given:
            return SagaError(f'{given} of memory, with all that is free: {problem}')
        return ArgumentError('max_memory', given, problem)


def _strips(parts: Sequence[Part], image: Rows, runner: RowRunner) -> str:
    """The lowest strips of a run, in rows of the image."""
    runs = (run for part in parts for run in part.passes(image.batch, runner.number))
    cuts = [(min(runner.strip_rows(run, height)[0], height), height) for run, height in runs]
    rows, height = max(cuts, key=lambda cut: cut[1] / cut[0])
    count = -(-height // rows)
    return 'one strip' if count == 1 else f'{count} strips of {rows * image.height // height} rows'


def _mib(size: float) -> str:
    return f'{max(size, 0) / 2**20:.0f} MiB'


def _gib(size: float) -> str:
    return f'{size / 2**30:.1f} GiB'
