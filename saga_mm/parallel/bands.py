"""Divide maps into bands of rows, and hold the band of a process."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

import torch

from saga_mm.errors import SagaError
from saga_mm.ops import round_up
from saga_mm.rows import MemoryRows, Rows

from .mesh import Mesh


class Bands:
    """Where an image, and with it each of its maps, is cut into bands of rows.

    A map of ``h`` rows of an image of ``H`` is cut at row ``floor(c * h / H)`` for each cut ``c`` of the image. Where
    a stride divides ``c``, that is ``c / stride``, whatever remains at the lower edge.

    Args:
        mesh: The processes.
        height: Rows of the image.
        unit: Rows of the image to one of its coarsest map: cuts are multiples of it.
        shares: How much of the image each band gets, relative to the others; None for even bands.

    Raises:
        SagaError: There are more bands than rows of the coarsest map.
    """

    def __init__(self, mesh: Mesh, height: int, unit: int = 1, shares: Sequence[float] | None = None) -> None:
        self.mesh, self.height, self.unit, count = mesh, height, unit, mesh.bands
        units = -(-height // unit)
        if count > units:
            raise SagaError(
                f'{count} bands are too many for an image of {height} rows, whose coarsest map has {units}: start at '
                f'most {units} processes'
            )
        shares = [1.0] * count if shares is None else list(shares)
        if len(shares) != count or min(shares) <= 0:
            raise SagaError(f'shares={shares}: must be {count} numbers above 0, one a band')
        # in units of the coarsest map, so that cuts of all maps are those of the image by their stride
        ends = [round(units * sum(shares[: i + 1]) / sum(shares)) for i in range(count)]
        for i in range(count):
            # one row of the coarsest map at least for each band
            ends[i] = min(max(ends[i], ends[i - 1] + 1 if i else 1), units - (count - 1 - i))
        self.cuts = [0, *(min(end * unit, height) for end in ends)]

    def of(self, height: int, multiple: int = 1) -> list[tuple[int, int]]:
        """Rows ``(start, stop)`` of every band, of a map of so many rows, cut at multiples of ``multiple``.

        Raises:
            SagaError: A band would have none.
        """
        cuts = [round_up(cut * height // self.height, multiple) for cut in self.cuts[:-1]] + [height]
        if any(start >= stop for start, stop in pairwise(cuts)):
            raise SagaError(
                f'{self.mesh.bands} bands are too many for a map of {height} rows that is cut at multiples of '
                f'{multiple}: start fewer processes, or take a larger image'
            )
        return list(pairwise(cuts))

    def own(self, height: int, multiple: int = 1) -> tuple[int, int]:
        """As :meth:`of`, of this process."""
        return self.of(height, multiple)[self.mesh.index]


class BandRows(Rows):
    """A map of which this process holds a band, and for a while rows of the neighbours.

    Args:
        held: The band, as a map by itself.
        height: Rows of the whole map.
        bands: How maps are divided.
        joined: Make one tensor of the band and of what is fetched. For gradients all processes then have the same
            graph, also where one of them fetches nothing; it is one copy for all who read, and is fetched once.
    """

    def __init__(self, held: Rows, height: int, bands: Bands, joined: bool = False) -> None:
        super().__init__(held.batch, height, held.width)
        self.held, self.bands, self.joined = held, bands, joined
        self.start, self.stop = bands.own(height)
        self._above = self._below = self._all = None
        self._known = bands.of(height)

    def read(self, start: int, stop: int) -> torch.Tensor:
        if self._all is not None:
            first, rows = self._all
            return self._fetched(rows, start - first, stop - first)
        parts = []
        if start < self.start:
            parts.append(self._fetched(self._above, start - self.start, min(stop - self.start, 0)))
        if max(start, self.start) < min(stop, self.stop):
            parts.append(self.held.read(max(start, self.start) - self.start, min(stop, self.stop) - self.start))
        if stop > self.stop:
            parts.append(self._fetched(self._below, max(start - self.stop, 0), stop - self.stop))
        return parts[0] if len(parts) == 1 else torch.cat(parts, dim=1)

    def _fetched(self, rows: torch.Tensor | None, first: int, last: int) -> torch.Tensor:
        count = 0 if rows is None else rows.shape[1] // self.width
        # rows above are counted from the band's first row upwards
        first, last = (first + count, last + count) if first < 0 else (first, last)
        if first < 0 or last > count:
            raise RuntimeError('rows of another band are read that were not fetched')
        return rows[:, first * self.width : last * self.width]

    def fetch(self, wanted: Sequence[tuple[int, int]]) -> None:
        """Get from the others what this band wants of their rows, and give them what they want; all call this together.

        Args:
            wanted: Rows ``(start, stop)`` that each band will read.
        """
        mesh, cuts = self.bands.mesh, self.bands.of(self.height)
        me = mesh.index
        give = [_beyond(want, cut, cuts[me]) for want, cut in zip(wanted, cuts)]
        take = [_beyond(wanted[me], cuts[me], cut) for cut in cuts]
        self.release()
        # all bands come to the same answer, so that none waits for an exchange that others leave out
        if all(start >= known[0] and stop <= known[1] for (start, stop), known in zip(wanted, self._known)):
            return
        # one row at least says how many channels there are
        pieces = [self.held.read(first - self.start, last - self.start) for first, last in give if first < last]
        like = pieces[0] if pieces else self.held.read(0, 1)
        # rows first, as an exchange divides them
        rows = torch.cat([piece.unflatten(1, (-1, self.width)).transpose(0, 1) for piece in pieces or [like[:, :0]]])
        counts = [[max(last - first, 0) for first, last in spans] for spans in (give, take)]
        got = mesh.exchange(rows, *counts, 'halo')
        above = sum(counts[1][:me])
        self._above, self._below = (part.transpose(0, 1).flatten(1, 2) for part in got.split([above, len(got) - above]))
        if self.joined:
            own = self.held.read(0, self.stop - self.start)
            rows = torch.cat([self._above, own, self._below], dim=1)
            self._all, self._known = (self.start - above, rows), list(wanted)
            own = rows[:, above * self.width :][:, : own.shape[1]]
            self.held = MemoryRows(own.unflatten(1, (-1, self.width)))

    def release(self) -> None:
        """Forget the rows of the others, where they are no part of the band's own tensor."""
        self._above = self._below = None

    def write(self, start: int, tokens: torch.Tensor) -> None:
        """As of :class:`~saga_mm.rows.MemoryRows`, of this band's rows."""
        self.held.write(start - self.start, tokens)

    def holds(self, tokens: torch.Tensor) -> bool:
        """As of :class:`~saga_mm.rows.MemoryRows`."""
        return self.held.holds(tokens)


def _beyond(want: tuple[int, int], own: tuple[int, int], other: tuple[int, int]) -> tuple[int, int]:
    """Rows of band ``other`` that band ``own`` lacks of what it wants; an empty range if none."""
    above = max(want[0], other[0]), min(own[0], want[1], other[1])
    below = max(own[1], want[0], other[0]), min(want[1], other[1])
    return above if above[0] < above[1] else below if below[0] < below[1] else (0, 0)
