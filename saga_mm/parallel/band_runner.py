"""Run row steps over maps that are divided into bands, one for each process."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch.utils.checkpoint import checkpoint

from saga_mm.ops import Grid
from saga_mm.rows import Engine, MemoryRows, RowRunner, Rows, RowStep, StepRows
from saga_mm.rows.device_memory import trim_memory, used_bytes
from saga_mm.rows.passes import Pass

from .bands import BandRows, Bands
from .states import merge_bands

# the least bytes of a strip of a band, below which calls cost more than what they compute
LEAST_CHUNK = 4 * 2**20
# how many strips the allocator may keep for later, beside the maps
KEPT = 5
CPU = torch.device('cpu')


class BandRunner(RowRunner):
    """As :class:`~saga_mm.rows.RowRunner`, for the band of this process: all processes run the same steps together.

    A map that is not made by a runner, such as an image, is read by each process itself. Before a step reads a map,
    rows beyond the band are fetched from those who hold them; states of the bands are merged.

    Strips are smaller by the number of bands, and what a CPU's allocator keeps for later beside the maps is given back
    when it is more than a few strips: so all that a process holds beside weights shrinks with its part of the image.

    Args:
        bands: How maps are divided.
        runner: Whose storage, limits and engine are used, as a :class:`~saga_mm.rows.MemoryBudget` plans them; None for
            maps in memory.
    """

    def __init__(self, bands: Bands, runner: RowRunner | None = None) -> None:
        runner = runner or RowRunner()
        options = {'engine': runner.engine, 'number': runner.number, 'budget': runner.budget}
        chunk = max(runner.chunk / bands.mesh.bands, min(runner.chunk, LEAST_CHUNK))
        super().__init__(runner.storage, runner.limit, chunk, runner.rows, runner.progress.total, **options)
        self.bands, self._before = bands, used_bytes(CPU)
        self._fetched: list[BandRows] = []

    def prepare(self, rows: Rows) -> None:
        """Fetch what this process needs to read its own rows of a map, and those that they are computed of."""
        self._prepare(rows)

    def _done(self, run: Pass, start: int, stop: int) -> None:
        super()._done(run, start, stop)
        if self.budget is None or self.budget.device.type == 'cpu':
            self._trim()

    def _trim(self) -> None:
        allowed = self.storage.held + KEPT * self.chunk
        if used_bytes(CPU) > self._before + allowed:
            trim_memory()
            # what is left is in use, and no reason to ask again after each strip
            self._before = max(self._before, used_bytes(CPU) - allowed)

    @torch.no_grad()
    def gather(self, rows: Rows) -> torch.Tensor:
        return gather_map(rows, self)

    def _span(self, height: int, multiple: int = 1) -> tuple[int, int]:
        return self.bands.own(height, multiple)

    def _aligned(self, height: int, multiple: int) -> bool:
        return self.bands.of(height, multiple) == self.bands.of(height)

    def _prepare(self, rows: Rows, multiple: int = 1) -> None:
        # rows of neighbours are held while one step reads them
        for old in self._fetched:
            old.release()
        # each process computes what all of them need, so that no requests are sent and all make the same exchanges
        wanted: dict[BandRows, list[tuple[int, int]]] = {}
        spans = self.bands.of(rows.height, multiple)
        for band, span in enumerate(spans):
            _collect(rows, *span, band, spans, wanted)
        for leaf, ranges in wanted.items():
            leaf.fetch(ranges)
        self._fetched = list(wanted)

    def _new(self, tokens: torch.Tensor, height: int, width: int) -> BandRows:
        start, stop = self.bands.own(height)
        return BandRows(self.storage.new(tokens, stop - start, width), height, self.bands)

    def _merged(self, step: RowStep, states: Sequence[Any]) -> Any:
        mesh = self.bands.mesh
        return merge_bands(step, step.merge(states), mesh.everybody() if step.over_batch else mesh)


class BandTrainer(BandRunner):
    """As :class:`BandRunner`, with gradients: a band is one strip, and what is kept is what autograd keeps of it.

    Losses of the bands add: after ``backward`` on every process, a parameter's gradients have to be summed over them.

    Args:
        bands: How maps are divided.
        recompute: Compute each step once more in the backward pass instead of keeping its activations.
    """

    trains = True

    def __init__(self, bands: Bands, recompute: bool = False) -> None:
        super().__init__(bands)
        if recompute:
            self.engine = _Recomputing()

    def gather(self, rows: Rows) -> torch.Tensor:
        return gather_map(rows, self)

    def _written(self, step: RowStep, x: Rows, state: Any) -> list:
        # what will be read is fetched first, so that both keep the same tensor for gradients
        self._prepare(StepRows(step, x))
        self._prepare(x, step.row_multiple)
        span = self._span(x.height, step.row_multiple)
        return [self.engine.write(step, x.read(*span), x.grid(*span), state)]

    def _pass(self, step: RowStep, after: RowStep | None, x: Rows, state: Any, owned: bool) -> tuple[Rows, list]:
        made = StepRows(step, x, state, self.engine)
        self._prepare(made)
        start, stop = self._span(made.height)
        tokens = made.read(start, stop)
        held = MemoryRows(tokens.unflatten(1, (stop - start, made.width)))
        # the next step writes in a pass of its own, once rows are there for both of its phases
        return BandRows(held, made.height, self.bands, joined=True), []


class _Recomputing(Engine):
    """PyTorch, without the activations inside a step."""

    def write(self, step: RowStep, x: torch.Tensor, grid: Grid, state: Any = None) -> Any:
        # the reentrant kind gives no gradients where no input needs any, as an image does not
        return checkpoint(step.write, x, grid, state, use_reentrant=False)

    def read(self, step: RowStep, x: torch.Tensor, grid: Grid, state: Any, keep: Grid) -> torch.Tensor:
        return checkpoint(step.read, x, grid, state, keep, use_reentrant=False)


def gather_map(rows: Rows, runner: BandRunner) -> torch.Tensor:
    """A map as one tensor ``(B, C, H, W)`` on every process; gradients of all of them come back to the bands."""
    runner.prepare(rows)
    spans, mesh = runner.bands.of(rows.height), runner.bands.mesh
    own = rows.plane(*spans[mesh.index])
    if mesh.bands == 1:
        return own.contiguous()
    pieces = mesh.gather(own.permute(2, 0, 1, 3).contiguous(), 'map', [stop - start for start, stop in spans])
    return torch.cat(pieces).permute(1, 2, 0, 3).contiguous()


def _collect(
    rows: Rows,
    start: int,
    stop: int,
    band: int,
    spans: Sequence[tuple[int, int]],
    wanted: dict[BandRows, list[tuple[int, int]]],
) -> None:
    """Note for every band map behind ``rows`` which of its rows a band will read."""
    if isinstance(rows, BandRows):
        ranges = wanted.setdefault(rows, rows.bands.of(rows.height))
        # it may be asked for more than once; its own rows are there anyway
        ranges[band] = min(start, ranges[band][0]), max(stop, ranges[band][1])
    for source in rows.sources(start, stop):
        _collect(*source, band, spans, wanted)
