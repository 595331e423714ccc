"""Time and memory against resolution."""

from __future__ import annotations

import importlib.util
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from saga_mm.files import write_image

from .cases import ResultRow
from .protocol import spread

if TYPE_CHECKING:
    from matplotlib.axes import Axes

COLORS = ('C0', 'C1', 'C2', 'C4', 'C5', 'C6', 'C8', 'C3', 'C9', 'k')
STYLES = ('o', 's', '^', 'v', 'D', 'P', 'X', '*', '<', '>')


def plot(rows: Sequence[ResultRow], folder: Path) -> list[Path]:
    """Draw ``time.png`` and ``memory.png``, as far as there is something to draw: a panel for each part, log axes.

    Compiled variants are dashed. Memory is the traced one, with the measured peak as hollow marks. Without matplotlib
    nothing is drawn.
    """
    drawn = []
    if importlib.util.find_spec('matplotlib') is None:
        return drawn
    if any(row.samples for row in rows):
        drawn.append(_figure(rows, 'seconds', _times, folder / 'time.png'))
    if any(row.live_bytes for row in rows):
        drawn.append(_figure(rows, 'MiB; hollow: peak as measured', _memory, folder / 'memory.png'))
    return drawn


def _figure(
    rows: Sequence[ResultRow], unit: str, draw: Callable[[Axes, list[ResultRow], dict], None], path: Path
) -> Path:
    from matplotlib.figure import Figure

    parts = list(dict.fromkeys(row.case.part for row in rows))
    names = list(dict.fromkeys(row.case.name for row in rows))
    columns = min(len(parts), 2)
    lines = -(-len(parts) // columns)
    figure = Figure(figsize=(7.5 * columns, 4.8 * lines), layout='constrained')
    panels = figure.subplots(lines, columns, squeeze=False).flatten()
    for panel in panels[len(parts) :]:
        panel.remove()
    for axes, part in zip(panels, parts):
        members = [row for row in rows if row.case.part == part]
        for label in dict.fromkeys(row.case.label for row in members):
            own = sorted((r for r in members if r.case.label == label), key=lambda r: r.case.size[0] * r.case.size[1])
            case = own[0].case
            i = names.index(case.name) % len(COLORS)
            style = {'color': COLORS[i], 'marker': STYLES[i], 'markersize': 5, 'label': label}
            draw(axes, own, {**style, 'linestyle': '--' if case.compiled else '-'})
        sides = sorted({_side(row) for row in members})
        axes.set(title=part or rows[0].case.layer, xscale='log', yscale='log', ylabel=unit)
        axes.set_xlabel('square root of the number of pixels')
        axes.set_xticks(sides, [f'{side:.0f}' for side in sides])
        axes.set_xticks([], minor=True)
        axes.grid(alpha=0.3)
        if axes.get_legend_handles_labels()[0]:
            axes.legend(fontsize=8, loc='upper left', bbox_to_anchor=(1, 1))
    write_image(path, figure.savefig, dpi=110)
    return path


def _times(axes: Axes, rows: list[ResultRow], style: dict) -> None:
    rows = [row for row in rows if row.samples]
    if not rows:
        return
    middle, low, high, _ = zip(*(spread(row.samples) for row in rows))
    errors = [[m - p for m, p in zip(middle, low)], [p - m for m, p in zip(middle, high)]]
    axes.errorbar([*map(_side, rows)], middle, errors, capsize=2, **style)


def _memory(axes: Axes, rows: list[ResultRow], style: dict) -> None:
    sides = [*map(_side, rows)]
    if rows[0].case.compiled:
        style = {**style, 'label': None}
    else:
        axes.plot(sides, [row.live_bytes / 2**20 for row in rows], **style)
    measured = [(side, row.peak_bytes / 2**20) for side, row in zip(sides, rows) if row.peak_bytes]
    if measured:
        axes.plot(*zip(*measured), **{**style, 'linestyle': ':', 'markerfacecolor': 'none', 'label': None})


def _side(row: ResultRow) -> float:
    return (row.case.size[0] * row.case.size[1]) ** 0.5
