"""What one run of row steps over a map takes, by the rows of its strips."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from typing import NamedTuple

from .steps import RowStep

# strips are at least this many halos high, so that few rows are computed twice
_HALOS = 8


class Pass(NamedTuple):
    """How much memory one run over a map takes, by the rows of its strips, counted in its output.

    Attributes:
        row: Bytes for each row of a strip.
        edge: Bytes for its halo.
        multiple: Strips must be a multiple of this high, all but the last.
        least: Rows that make the halo a small part of a strip.
    """

    row: float
    edge: float
    multiple: int
    least: int

    def rows(self, limit: float, chunk: float) -> int:
        """Rows of a strip: about ``chunk`` bytes, or more if the halo is wide, and within ``limit`` if one fits."""
        rows = max((chunk - self.edge) / self.row, self.least)
        # the limit takes precedence: lower strips cost time, higher ones memory that is not there
        rows = min(rows, (limit - self.edge) / self.row)
        return max(int(rows) // self.multiple, 1) * self.multiple

    def bytes(self, rows: int) -> float:
        """What a strip of so many rows takes."""
        return self.row * rows + self.edge


class Part(NamedTuple):
    """Steps that run one after the other, and the size of the map that the first of them is given.

    Attributes:
        tokens: Tokens of that map that write the states, where those are more than ``height * width``.
    """

    steps: Sequence[RowStep]
    height: int
    width: int
    tokens: int = 0

    def passes(self, batch: int, number: float = 4) -> Iterator[tuple[Pass, int]]:
        """The runs over maps, whose numbers take ``number`` bytes each, and the rows of their output."""
        size = self.height, self.width
        for step, after in with_next(self.steps):
            for _ in range(step.sweeps):
                yield sweep_pass(step, batch, size[1], number), size[0]
            height, width = (-(-side // step.stride) for side in size)
            yield reading_pass(step, after, batch, size[1], number), height
            size = height, width

    def state_bytes(self, batch: int, number: float = 4) -> float:
        """Bytes of the largest state, with the strips that it is merged from."""
        sizes, size, more = [], (self.height, self.width), self.tokens / (self.height * self.width)
        for step in self.steps:
            # twice, because the states of the strips exist beside the merged one
            sizes.append(2 * number * batch * step.state_floats_per_token * size[0] * size[1] * max(more, 1))
            size = tuple(-(-side // step.stride) for side in size)
        return max(sizes, default=0.0)

    def whole_bytes(self, batch: int, number: float = 4) -> float:
        """Bytes that strips as high as the maps take."""
        return max(run.bytes(height) for run, height in self.passes(batch, number))

    def strip_bytes(self, batch: int, limit: float, chunk: float, number: float = 4) -> float:
        """Bytes that strips within ``limit`` take; more where even the lowest does not fit."""
        return max(run.bytes(min(run.rows(limit, chunk), height)) for run, height in self.passes(batch, number))


def with_next(steps: Sequence[RowStep]) -> Iterator[tuple[RowStep, RowStep | None]]:
    """Each step with the one after it, None after the last."""
    return zip(steps, [*steps[1:], None], strict=True)


def sweep_pass(step: RowStep, batch: int, width: int, number: float) -> Pass:
    """The run in which a step writes one sweep of its state over a map ``width`` wide."""
    return Pass(number * batch * width * step.peak_floats_per_token, 0.0, step.row_multiple, 1)


def reading_pass(step: RowStep, after: RowStep | None, batch: int, width: int, number: float) -> Pass:
    """The run in which a step makes its map, and the step after it writes its first sweep."""
    column = number * batch * width
    row, multiple = column * step.peak_floats_per_token * step.stride, step.row_multiple
    if after is not None and after.sweeps:
        row = max(row, column * after.peak_floats_per_token / step.stride)
        multiple = math.lcm(multiple, after.row_multiple)
    return Pass(row, column * step.peak_floats_per_token * 2 * step.halo, multiple, _HALOS * step.halo // step.stride)
