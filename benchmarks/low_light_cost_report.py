"""Enhancers of low light side by side: a table, a plot and JSON, with the machine they were measured on."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import asdict
from pathlib import Path
from statistics import median

from saga_mm.files import make_folder, write_file, write_image

from .low_light_cost import Row, Size, measure, parse_sizes
from .machine import described, machine
from .model_tables import markdown

GIB = 2**30
EXPLANATION = (
    'One image, float32, on the CPU. Traced: multiply-accumulates, and most bytes of activations alive at once. '
    'Measured: resident memory at its peak beyond that before the image, and time; median (least - most) of runs in '
    'fresh processes, the models taking turns. Ratios are to {leader}.'
)
# what is compared, by its name and unit: one number if it is traced, one from each run if it is measured
FIGURES: dict[str, Callable[[Row], Sequence[float]]] = {
    'GMAC': lambda row: [row.macs / 1e9],
    'live GiB': lambda row: [row.live_bytes / GIB],
    'peak GiB': lambda row: [peak / GIB for peak in row.peak_bytes],
    'seconds': lambda row: row.seconds,
}


def report_costs(sizes: str, models: str, repeats: int, out: Path) -> list[Row]:
    """Measure models, print a table, and write ``cost.json``, ``cost.md`` and ``cost.png``.

    ``cost.json`` is written after each run, so that an interrupted measurement leaves what it has measured.

    Args:
        sizes: As ``400x608,1280x1280``.
        models: Names, separated by commas; ratios are to the first.
        repeats: Runs of each model at each size.
        out: Folder of what is written.

    Raises:
        SagaError: Something in the input is wrong, or a model does not run.
    """
    names = list(dict.fromkeys(name.strip() for name in models.split(',')))
    pixels = parse_sizes(sizes)
    folder = make_folder(out)
    about = machine()

    def keep(rows: Sequence[Row]) -> None:
        written = {'machine': about, 'repeats': repeats, 'rows': [asdict(row) for row in rows]}
        write_file(folder / 'cost.json', json.dumps(written, indent=2) + '\n')

    rows = measure(names, pixels, repeats, keep)
    keep(rows)
    text = f'{EXPLANATION.format(leader=rows[0].model)}\n\n{described(about)}\n\n{cost_table(rows)}\n'
    write_file(folder / 'cost.md', text)
    print(text)
    print(
        f'figures: {folder / "cost.json"}, table: {folder / "cost.md"}, plot: {plot_costs(rows, folder / "cost.png")}'
    )
    return rows


def cost_table(rows: Sequence[Row]) -> str:
    """A Markdown table: medians with the least and the most, and ratios of medians to the first model of each size."""
    leaders = {row.size: row for row in reversed(rows)}
    lines = []
    for row in rows:
        cells = [_cell(values(row)) for values in FIGURES.values()]
        ratios = [_ratio(values(row), values(leaders[row.size])) for values in FIGURES.values()]
        lines.append((_pixels(row.size), row.model, f'{row.parameters / 1e6:.3f} M', *cells, *ratios))
    return markdown(('size', 'model', 'parameters', *FIGURES, *(f'{name}, ratio' for name in FIGURES)), lines)


def _cell(values: Sequence[float]) -> str:
    spread = f' ({min(values):.3g} - {max(values):.3g})' if len(values) > 1 else ''
    return f'{median(values):.3g}{spread}'


def _ratio(values: Sequence[float], leader: Sequence[float]) -> str:
    return f'{median(values) / median(leader):.3f}' if median(leader) else '-'


def _pixels(size: Size) -> str:
    return f'{size[0]} x {size[1]}'


def plot_costs(rows: Sequence[Row], path: Path) -> Path:
    """Draw time and memory of each model at each size, with the least and the most, into an image file."""
    from matplotlib.figure import Figure

    sizes = list(dict.fromkeys(row.size for row in rows))
    models = list(dict.fromkeys(row.model for row in rows))
    figure = Figure(figsize=(6 + 2.4 * len(sizes), 4.2), layout='constrained')
    panels = figure.subplots(1, 2)
    width = 0.8 / len(models)
    for axes, (name, title) in zip(panels, {'seconds': 'seconds', 'peak GiB': 'peak resident memory, GiB'}.items()):
        for i, model in enumerate(models):
            own = [row for row in rows if row.model == model]
            places = [sizes.index(row.size) + (i - (len(models) - 1) / 2) * width for row in own]
            low, middle, high = zip(*(_spread(FIGURES[name](row)) for row in own))
            bars = axes.bar(places, middle, 0.9 * width, yerr=(low, high), capsize=3, label=model)
            axes.bar_label(bars, fmt='{:.3g}', fontsize=8, padding=2)
            if name == 'peak GiB':
                traced = [*map(FIGURES['live GiB'], own)]
                axes.plot(places, traced, 'k_', markersize=14, label='' if i else 'live activations, traced')
        axes.set(title=title, yscale='log')
        axes.set_xticks(range(len(sizes)), map(_pixels, sizes))
        axes.grid(axis='y', alpha=0.3)
        axes.margins(y=0.15)
    panels[1].legend(fontsize=8)
    write_image(path, figure.savefig, dpi=110)
    return path


def _spread(values: Sequence[float]) -> tuple[float, float, float]:
    """The median, and how far the least is below it and the most above: below, median, above."""
    middle = median(values)
    return middle - min(values), middle, max(values) - middle
