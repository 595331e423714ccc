"""Count the bytes that processes would send for images of any size, with a model without memory."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import torch
from torch import nn

from saga_mm.rows import ImageRows, RowRunner, Rows, RowStep

from .band_runner import BandRunner
from .bands import Bands
from .mesh import Mesh


class Count(NamedTuple):
    """What one inference over an image takes.

    Attributes:
        states: Bytes of states that all processes send.
        halos: Bytes of rows that all processes send to others.
        maps: Bytes of all maps that steps make.
        outputs: Bytes of the maps that the model returns.
        calls: How often a process waits for others.
        most: Bytes that the busiest process sends.
    """

    states: int
    halos: int
    maps: int
    outputs: int
    calls: int
    most: int


def count_bytes(
    model: nn.Module,
    run: Callable[[Rows, BandRunner], Sequence[Rows]],
    size: tuple[int, int],
    bands: int,
    unit: int = 32,
) -> Count:
    """Count the bytes of one inference, process by process.

    Args:
        model: A model of which nothing but shapes is used; it is moved to the device ``meta``.
        run: What it makes of an image, such as ``model.forward_rows``.
        size: ``(H, W)`` of the image.
        bands: Processes.
        unit: As of :class:`Bands`.
    """
    # shapes alone: an image may be larger than any memory
    model.to('meta').eval()
    states = halos = maps = outputs = calls = most = 0
    for index in range(bands):
        mesh = CountingMesh(index, bands)
        runner = _CountingRunner(Bands(mesh, size[0], unit))
        image = ImageRows(lambda start, stop: torch.empty(1, 3, stop - start, size[1], device='meta'), *size)
        for rows in run(image, runner):
            start, stop = runner.bands.own(rows.height)
            runner.prepare(rows)
            outputs += rows.read(start, stop).nbytes
        states, halos = states + mesh.sent['state'], halos + mesh.sent['halo']
        maps, calls = maps + runner.maps, mesh.calls
        most = max(most, mesh.sent.total())
    return Count(states, halos, maps, outputs, calls, most)


class CountingMesh(Mesh):
    """A mesh in one process, which assumes that the other processes send as much as it does."""

    def move(self, x: torch.Tensor, give: Sequence[int], take: Sequence[int], what: str) -> torch.Tensor:
        x = super().move(x, give, take, what)
        return x if len(x) == sum(take) else x.new_empty(sum(take), *x.shape[1:])


class _CountingRunner(BandRunner):
    """Counts the maps that are made; a band is one strip."""

    def __init__(self, bands: Bands) -> None:
        super().__init__(bands, RowRunner(rows=2**30))
        self.maps = 0

    def _pass(self, step: RowStep, after: RowStep | None, x: Rows, state: Any, owned: bool) -> tuple[Rows, list]:
        made, states = super()._pass(step, after, x, state, owned)
        self.maps += made.held.tensor.nbytes
        return made, states
