"""Run row steps over maps in strips."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import torch

from saga_mm.ops.grid import ceil_div, copy_map

from .chunk_size import bytes_of_chunks
from .engine import Engine, Strip
from .passes import Pass, reading_pass, sweep_pass, with_next
from .row_progress import Progress
from .steps import RowStep, StepRows, round_up
from .storage import Rows, Span, Storage

if TYPE_CHECKING:
    from .budget import MemoryBudget


class RowRunner:
    """Runs steps over maps, without gradients unless it ``trains``.

    Args:
        storage: Where maps are kept that are made.
        limit: Bytes that the computation on a strip may take, by the steps' own estimates.
        chunk: Bytes that it takes if the limit allows for more, or more with a wide halo; None for those of the CPU.
        rows: Rows of each strip, rounded up to what steps require, whatever memory that takes; None to use ``limit``.
        work: Bytes that all steps process, for :func:`watch_rows`; None if it is not known.
        engine: Where steps run; None for PyTorch.
        number: Bytes of a number, as :func:`~saga_mm.ops.number_bytes` gives them.
        budget: Asked after each strip to trim what the allocator keeps; None for no trimming.

    Attributes:
        trains: Whether what is run may be in training mode, and keeps what gradients need.
    """

    trains = False

    def __init__(
        self,
        storage: Storage | None = None,
        limit: float = math.inf,
        chunk: float | None = None,
        rows: int | None = None,
        work: float | None = None,
        engine: Engine | None = None,
        number: float = 4,
        budget: MemoryBudget | None = None,
    ) -> None:
        self.engine = engine or Engine()
        self.storage = storage or Storage()
        self.progress = Progress(work)
        self.limit, self.rows = limit, rows
        self.chunk = bytes_of_chunks() if chunk is None else chunk
        self.number, self.budget = number, budget

    def gradients(self) -> AbstractContextManager:
        """Gradients where this runner trains and they are enabled, and none elsewhere."""
        return torch.set_grad_enabled(self.trains and torch.is_grad_enabled())

    def run(self, steps: Sequence[RowStep], source: Rows) -> Rows:
        """The map that the last of the steps makes of ``source``, which stays as it is."""
        x, states = source, []
        with self._running():
            for step, after in with_next(steps):
                state = self._state(step, x, states)
                # the states of single strips are merged: free them before the next map is made
                states.clear()
                # maps that this runner made may be overwritten, the caller's map may not
                x, states = self._pass(step, after, x, state, x is not source)
                del state
        return x

    def state(self, step: RowStep, x: Rows) -> Any:
        """The state that a step writes of a whole map."""
        with self._running():
            return self._state(step, x, [])

    def share(self, steps: Sequence[RowStep], maps: Sequence[Rows]) -> list[Rows]:
        """The maps that steps make of one map each, reading a single state that all of them write."""
        state = None
        with self._running():
            for _ in range(steps[0].sweeps):
                states = [s for step, x in zip(steps, maps) for s in self._written(step, x, state)]
                state = self._merged(steps[0], states)
            state = self._final_state(steps[0], state)
            return [self._pass(step, None, x, state, False)[0] for step, x in zip(steps, maps)]

    @torch.no_grad()
    def gather(self, rows: Rows) -> torch.Tensor:
        """A map as one contiguous tensor ``(B, C, H, W)``."""
        out = None
        # in parts, so that a map that is computed on reading does not exist twice
        for start, stop in self._cuts(0, rows.height, max(rows.height // 16, 1)):
            plane = rows.plane(start, stop)
            if out is None:
                out = plane.new_empty(*plane.shape[:2], rows.height, rows.width)
            copy_map(plane, out[:, :, start:stop])
        return out

    def _state(self, step: RowStep, x: Rows, states: list) -> Any:
        state = None
        for sweep in range(step.sweeps):
            # the first sweep was usually written while the map was made
            if sweep or not states:
                states = self._written(step, x, state)
            state = self._merged(step, states)
        return self._final_state(step, state)

    @contextmanager
    def _running(self) -> Iterator[None]:
        """Entered around everything that is run."""
        with self.gradients(), self.engine.running():
            yield

    def _span(self, height: int, multiple: int = 1) -> tuple[int, int]:
        """The rows of a map that this runner writes, cut at multiples of ``multiple``."""
        return 0, height

    def _aligned(self, height: int, multiple: int) -> bool:
        """Whether ``_span`` is the same with and without that multiple."""
        return True

    def _prepare(self, rows: Rows, multiple: int = 1) -> None:
        """Called before the rows of ``_span`` are read of a map."""

    def _new(self, tokens: torch.Tensor, height: int, width: int) -> Any:
        """A map without content of so many rows, which is then written."""
        return self.storage.new(tokens, height, width)

    def _merged(self, step: RowStep, states: Sequence[Any]) -> Any:
        """The state of the whole map, of those of all strips."""
        return step.merge(states)

    def _final_state(self, step: RowStep, state: Any) -> Any:
        """What is read of a state that all rows have written; None for a step that writes none."""
        return state

    def _written(self, step: RowStep, x: Rows, state: Any) -> list:
        run, states = sweep_pass(step, x.batch, x.width, self.number), []
        self._prepare(x, step.row_multiple)
        cuts = self._strips(run, x.height, self._span(x.height, step.row_multiple))
        strips = ((x.read(*cut), x.grid(*cut)) for cut in cuts)
        for written, cut in zip(self.engine.write_each(step, strips, state), cuts):
            states.append(written)
            self._done(run, *cut)
        return states

    def _pass(self, step: RowStep, after: RowStep | None, x: Rows, state: Any, owned: bool) -> tuple[Rows, list]:
        """The map that a step makes, and the states of the first sweep of the step after it."""
        # reads the old rows of the input, also where they are overwritten already
        before = _Before(x, step.halo)
        made, out, states = StepRows(step, before, state, self.engine), None, []
        # a step that keeps the shape needs no second map: it overwrites its input strip by strip
        in_place = owned and step.stride == 1
        run = reading_pass(step, after, x.batch, x.width, self.number)
        sweep = sweep_pass(after, x.batch, made.width, self.number) if after is not None and after.sweeps else None
        # the next step may need other rows of this map than this process makes: then it writes in a pass of its own
        if sweep is not None and not self._aligned(made.height, after.row_multiple):
            sweep = None
        self._prepare(made)
        cuts = self._strips(run, made.height, self._span(made.height), ceil_div(step.halo, step.stride))

        # made when they are asked for, strip by strip: the map that they are read from is being overwritten
        strips = (Strip(*made.strip(*cut)) for cut in cuts)
        if sweep is None:
            answers = ((tokens, None) for tokens in self.engine.read_each(step, strips, state))
        else:
            answers = self.engine.read_write_each(step, after, strips, state)
        for (tokens, written), (start, stop) in zip(answers, cuts):
            if out is None:
                out = before if in_place and x.holds(tokens) else self._new(tokens, made.height, made.width)
            out.write(start, tokens)
            # before the budget looks at the memory in use
            del tokens
            if sweep is not None:
                states.append(written)
                self.progress.add(sweep.row * (stop - start))
            self._done(run, start, stop)
        return (x if out is before else out), states

    def _done(self, run: Pass, start: int, stop: int) -> None:
        self.progress.add(run.row * (stop - start))
        if self.budget is not None:
            self.budget.trim()

    def strip_rows(self, run: Pass, height: int) -> tuple[int, int]:
        """Rows of a strip of a map with ``height`` rows, and how many strips run together."""
        if self.rows is not None:
            return round_up(self.rows, run.multiple), 1
        # the lowest strips may fit one by one alone
        lanes = max(int(min(self.engine.lanes, self.limit / run.bytes(run.multiple))), 1)
        rows = run.rows(self.limit / lanes, self.chunk / lanes)
        count = round_up(ceil_div(height, rows), lanes)
        # alike, so that they end together; and maps that one strip holds are not cut into lower ones
        return (round_up(ceil_div(height, count), run.multiple) if count * run.least <= height else rows), lanes

    def _strips(self, run: Pass, height: int, span: tuple[int, int], halo: int = 0) -> list[tuple[int, int]]:
        """The strips of the rows ``span`` of a map, each with ``halo`` rows beside it where the map has them."""
        (rows, _), (first, last), multiple = self.strip_rows(run, height), span, run.multiple
        edge = round_up(halo, multiple)
        inner = last - first - 2 * edge
        if self.rows is not None or not self.engine.compiles or first % multiple or inner < rows < last - first:
            return self._cuts(first, last, rows)
        if rows >= last - first:
            return [(first, last)]
        # as many as can be of one size, halo included, for which a step is compiled; the first and the last are low
        rows = min(range(rows, max(rows * 2 // 3, multiple - 1), -multiple), key=lambda rows: inner % rows)
        start, stop = first + edge, first + edge + inner // rows * rows
        low = [*range(stop, last, rows), last]
        return [cut for cut in pairwise([first, *range(start, stop, rows), *low]) if cut[0] < cut[1]]

    @staticmethod
    def _cuts(first: int, last: int, rows: int) -> list[tuple[int, int]]:
        """Strips of rows ``[first, last)``, cut where ``rows`` divides the row."""
        edges = [first, *range((first // rows + 1) * rows, last, rows), last]
        return list(pairwise(edges))


class _Before(Rows):
    """A map that is being overwritten from its first row on, as it was before; it keeps ``halo`` old rows."""

    def __init__(self, rows: Rows, halo: int) -> None:
        super().__init__(rows.batch, rows.height, rows.width)
        self.rows, self.halo = rows, halo
        self.changed, self.old = 0, None

    def sources(self, start: int, stop: int) -> list[Span]:
        return [Span(self.rows, start, stop)]

    def read(self, start: int, stop: int) -> torch.Tensor:
        if start >= self.changed:
            return self.rows.read(start, stop)
        old = self.old[:, (start - self.changed) * self.width :]
        return torch.cat([old, self.rows.read(self.changed, stop)], dim=1)

    def write(self, start: int, tokens: torch.Tensor) -> None:
        stop = start + tokens.shape[1] // self.width
        # the next strip needs these rows as they were, in its halo
        old = self.read(max(stop - self.halo, 0), stop).clone() if self.halo else None
        self.rows.write(start, tokens)
        self.changed, self.old = stop, old
