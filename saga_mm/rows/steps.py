"""Row steps: layers over strips of rows that give the same numbers as over the whole map.

A model is a list of row steps (:class:`RowStep`). Nothing is written twice for that: a step runs the very module that
the whole map runs on a strip that is some rows larger than what is wanted, its halo, and the rows that felt the cut are
dropped. Where the map ends a strip ends too, so that zero padding is where the whole map has it. A step that must see
all rows first, such as global attention, is given them in sweeps, in which it writes a state that is merged and read.

Maps are :class:`~saga_mm.rows.Rows`: anything that can be asked for rows. :class:`RowRunner` runs a list of steps over
one and returns the last map. The first sweep of a step is made while the map is still being written, and a step that
keeps a map's shape changes it in place. :class:`StepRows` is a map that is not kept at all.

A neck or head with several levels is made of the same parts. What depends on one map is a list of steps, run for each
level. What joins levels is a :class:`~saga_mm.rows.Rows` of its own whose ``read`` asks its levels for the rows that it
needs: the level itself, and ``resize_rows(coarse.plane, (coarse.height, coarse.width), (height, width), start, stop)``
of the coarser one, added or concatenated. It is the source of the steps that follow, and only what those make is kept;
several modules in a row may be one :class:`LocalStep`, whose reach is the sum of theirs, so that nothing wide is kept.
Adaptive pooling (``RowPool``) is a state: write it over all strips, merge, and let ``read`` resize the small map.
"""

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import nn

from saga_mm.ops.grid import Grid, larger, round_up, smaller

from .engine import Engine
from .storage import Rows, Span


class RowStep:
    """A layer that can be run over a map in strips of rows.

    Attributes:
        stride: Rows of its input to one of its output; maps round up.
        halo: Rows of its input that ``read`` needs above and below those of the rows that are kept. ``stride`` and
            ``row_multiple`` divide it.
        row_multiple: Strips must start at a row of its input that this divides, and stop at one or at the map's end.
        sweeps: How often all rows must be written before any can be read.
        peak_floats_per_token: Upper bound on the floats alive for each token while it is written or read. Overestimate
            if unsure: strips only become lower.
        state_floats_per_token: Floats that the state keeps of each token.
        label: Distinguishes the step from others with the same modules.
        over_batch: Whether the state is one of all images of the batch, also of those on other devices.
    """

    stride: int = 1
    halo: int = 0
    row_multiple: int = 1
    sweeps: int = 0
    peak_floats_per_token: float
    state_floats_per_token: float = 0.0
    label: str = ''
    over_batch: bool = False

    @property
    def step_modules(self) -> Sequence[nn.Module]:
        """The modules that the step computes with, for engines that compile it; none for a step not worth compiling."""
        return (self,) if isinstance(self, nn.Module) else ()

    def write(self, x: torch.Tensor, grid: Grid, state: Any = None) -> Any:
        """State of the tokens ``x`` at ``grid``; in a later sweep, given the merged state of the one before."""
        raise NotImplementedError

    def merge(self, states: Sequence[Any]) -> Any:
        """State of all strips, in the order of their rows."""
        raise NotImplementedError

    def read(self, x: torch.Tensor, grid: Grid, state: Any, keep: Grid) -> torch.Tensor:
        """Output tokens at ``keep``, rows of the output, from input tokens ``x`` at ``grid``, which has the halo."""
        raise NotImplementedError


class LocalStep(RowStep):
    """A layer whose output rows depend on the input rows near them, and on nothing else.

    Args:
        function: From tokens and their grid to output tokens and theirs, as it runs on the whole map.
        peak_floats_per_token: As of :class:`RowStep`.
        stride: As of :class:`RowStep`.
        reach: Input rows beyond its own that an output row depends on, on each side.
        modules: The modules that the function computes with; with none, engines leave it to PyTorch.
        label: As of :class:`RowStep`.
    """

    def __init__(
        self,
        function: Callable[[torch.Tensor, Grid], tuple[torch.Tensor, Grid]],
        peak_floats_per_token: float,
        stride: int = 1,
        reach: int = 0,
        modules: Sequence[nn.Module] = (),
        label: str = '',
    ) -> None:
        self.function, self.peak_floats_per_token, self.stride = function, peak_floats_per_token, stride
        self._step_modules, self.label = modules, label
        # a strip with its halo must start where the stride divides the row, or its output rows would be shifted
        self.halo = round_up(reach, stride)

    @property
    def step_modules(self) -> Sequence[nn.Module]:
        return self._step_modules

    def read(self, x: torch.Tensor, grid: Grid, state: None, keep: Grid) -> torch.Tensor:
        return crop_rows(*self.function(x, grid), keep)


class StepRows(Rows):
    """The map that a step makes of another, computed when rows are asked for and never kept.

    Args:
        step: A step without sweeps, or one whose sweeps are done.
        source: Its input.
        state: What its sweeps have gathered, merged.
        engine: Where the step runs.
    """

    def __init__(self, step: RowStep, source: Rows, state: Any = None, engine: Engine | None = None) -> None:
        super().__init__(source.batch, *(-(-side // step.stride) for side in (source.height, source.width)))
        self.step, self.source, self.state, self.engine = step, source, state, engine or Engine()

    def read(self, start: int, stop: int) -> torch.Tensor:
        x, grid, keep = self.strip(start, stop)
        return self.engine.read(self.step, x, grid, self.state, keep)

    def strip(self, start: int, stop: int) -> tuple[torch.Tensor, Grid, Grid]:
        """What the step is given for rows ``[start, stop)``: tokens of its input, where they stand, and those rows."""
        grid = self._needed(start, stop)
        return self.source.read(grid.start, grid.stop), grid, self.grid(start, stop)

    def sources(self, start: int, stop: int) -> list[Span]:
        grid = self._needed(start, stop)
        return [Span(self.source, grid.start, grid.stop)]

    def _needed(self, start: int, stop: int) -> Grid:
        """The rows of the source that rows of the map depend on."""
        step, source = self.step, self.source
        multiple = step.row_multiple
        # whole windows only, then the halo around them
        start, stop = start * step.stride // multiple * multiple, round_up(stop * step.stride, multiple)
        return grow_rows(source.grid(start, min(stop, source.height)), step.halo)


def crop_rows(x: torch.Tensor, grid: Grid, keep: Grid) -> torch.Tensor:
    """Of tokens at ``grid``, those of the rows of ``keep``: a view."""
    return x[:, (keep.start - grid.start) * grid.width : (keep.stop - grid.start) * grid.width]


def grow_rows(grid: Grid, halo: int) -> Grid:
    """The grid with ``halo`` more rows on each side, as far as the map has them."""
    return grid._replace(start=larger(grid.start - halo, 0), stop=smaller(grid.stop + halo, grid.height))
