"""Ranks of several attentions side by side: a table, curves and JSON."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from saga_mm.display.fonts import plot_text
from saga_mm.display.table import format_table
from saga_mm.errors import ArgumentError
from saga_mm.files import make_folder, write_file, write_image

from .rank import SHARE, LayerRank, collect_ranks
from .subjects import (
    build_backbone,
    load_matching,
    load_pictures,
    model_stem,
    parse_mixer,
    read_backbone_weights,
    split_files,
)

Ranks = Mapping[str, Sequence[LayerRank]]


def report_ranks(
    model: str,
    files: Sequence[str],
    attention: str | None = None,
    size: tuple[int, int] = (224, 224),
    share: float = SHARE,
    out: Path | None = None,
) -> dict[str, list[LayerRank]]:
    """Measure the ranks of one or several attentions in a backbone; print a table, write ``ranks.png``, ``ranks.json``.

    All share the weights of the checkpoint, or the same random ones, wherever names and shapes fit.

    Args:
        model: A config file, or a backbone's name.
        files: A checkpoint if there is one, then pictures or folders of them.
        attention: What to compare, as ``saga,saga:gates=key,linear``; None for what the model has.
        size: ``(H, W)`` that pictures are squeezed to.
        share: Of the energy, for the second measure.
        out: Folder of what is written; ``work_dirs/rank/MODEL`` by default.

    Raises:
        SagaError: Something in the input is wrong, or no picture can be read.
    """
    if not 0 < share <= 1:
        raise ArgumentError('share', share, 'must be above 0 and at most 1')
    checkpoint, sources = split_files(files)
    labels = [label.strip() for label in attention.split(',') if label.strip()] if attention else []
    subjects = {label: parse_mixer(label) for label in labels} or {'as configured': None}
    nets = {label: build_backbone(model, subject) for label, subject in subjects.items()}
    origin = checkpoint or 'random initialisation'
    state = read_backbone_weights(checkpoint) if checkpoint else next(iter(nets.values())).state_dict()
    read, images, failed = load_pictures(sources, size)
    folder = make_folder(out or Path('work_dirs', 'rank', model_stem(model)))
    notes = {label: load_matching(net, state, origin) for label, net in nets.items()}
    ranks = {label: collect_ranks(net, images, share, f'{label}') for label, net in nets.items()}

    print(format_table(header(share), rank_rows(ranks)))
    print(f'\n{EXPLANATION}')
    if checkpoint is None:
        print('NOTE: there is no checkpoint. All weights are RANDOM; ranks of trained weights differ.')
    for label, note in notes.items() if checkpoint else ():
        print(f'weights of {label}: {note}')
    for reason in failed:
        print(f'left out: {reason}')
    about = {'model': model, 'checkpoint': checkpoint, 'weights': notes, 'energy_share': share, 'size': list(size)}
    table = write_json(ranks, folder / 'ranks.json', {**about, 'pictures': [str(path) for path in read]})
    title = (
        f'{model_stem(model)}, {Path(checkpoint).name if checkpoint else "random weights"}, {_images(len(read), size)}'
    )
    print(
        f'{_images(len(read), size)}; curves: {plot_ranks(ranks, folder / "ranks.png", title, share)}, figures: {table}'
    )
    return ranks


EXPLANATION = (
    'effective rank: exponential of the entropy of the singular values, normalised to the sum 1\n'
    'energy: singular values, the largest first, that hold this share of the sum of squares\n'
    'means over images (and heads), beside the largest possible; -: softmax attention keeps no KV state\n'
    'output: what attention returns before the residual, tokens x channels'
)


def header(share: float) -> tuple[str, ...]:
    """Column names of :func:`rank_rows`."""
    energy = f'{share:.0%} energy'
    return (
        'layer',
        'attention',
        'KV state: effective',
        f'KV state: {energy}',
        'output: effective',
        f'output: {energy}',
    )


def _images(count: int, size: tuple[int, int]) -> str:
    return f'{count} picture{"s" * (count != 1)} of {size[0]} x {size[1]}'


def rank_rows(ranks: Ranks) -> list[tuple[str, ...]]:
    """Rows of a table, layer by layer and in each the subjects side by side; ``value / largest possible``."""
    rows = []
    for layer in dict.fromkeys(rank.layer for each in ranks.values() for rank in each):
        for label, each in ranks.items():
            for rank in (rank for rank in each if rank.layer == layer):
                state = (rank.state_effective, rank.state_energy)
                cells = [_of(value, rank.state_size) for value in state]
                cells += [_of(value, rank.output_size) for value in (rank.output_effective, rank.output_energy)]
                rows.append((layer, label, *cells))
    return rows


def write_json(ranks: Ranks, path: Path, about: dict[str, Any]) -> Path:
    """Write what was measured, and on what, as JSON."""
    layers = {label: [asdict(rank) for rank in each] for label, each in ranks.items()}
    write_file(path, json.dumps({**about, 'ranks': layers}, indent=1) + '\n')
    return path


def plot_ranks(ranks: Ranks, path: Path, title: str, share: float = SHARE) -> Path:
    """Draw ranks by layer into an image file, a line for each subject."""
    from matplotlib.figure import Figure

    layers = list(dict.fromkeys(rank.layer for each in ranks.values() for rank in each))
    figure = Figure(figsize=(min(max(9.0, 0.8 * len(layers)), 20.0), 8), layout='constrained')
    figure.suptitle(plot_text(title), fontsize=11)
    axes = figure.subplots(2, 2, sharex=True)
    kinds = ('effective', 'energy')
    names = ('effective rank', f'singular values for {share:.0%} of the energy')
    things = (('state', 'KV state of a head'), ('output', 'output of attention'))
    for row, kind in enumerate(kinds):
        for column, (thing, text) in enumerate(things):
            plot = axes[row, column]
            _curves(plot, ranks, layers, f'{thing}_{kind}', f'{thing}_size')
            plot.set_title(f'{text}: {names[row]}', fontsize=10)
            plot.grid(alpha=0.3)
            if row == 1:
                plot.set_xlabel('stage.block')
    lines = axes[0, 1].get_legend_handles_labels()
    figure.legend(*lines, loc='outside lower center', ncols=5, fontsize=9)
    write_image(path, figure.savefig, dpi=120)
    return path


def _curves(plot: Any, ranks: Ranks, layers: Sequence[str], key: str, size: str) -> None:
    drawn = False
    for number, (label, each) in enumerate(ranks.items()):
        points = {rank.layer: getattr(rank, key) for rank in each}
        heights = [points.get(layer) for layer in layers]
        # a line ends where attention has no state
        values = [float('nan') if height is None else height for height in heights]
        drawn = drawn or any(height is not None for height in heights)
        plot.plot(range(len(layers)), values, marker='o', ms=4, color=f'C{number}', label=label)
    largest = [max(_known(getattr(r, size) for e in ranks.values() for r in e if r.layer == layer)) for layer in layers]
    if drawn:
        plot.plot(range(len(layers)), largest, ls=':', color='0.5', label='largest possible', drawstyle='steps-mid')
    else:
        plot.text(0.5, 0.5, 'none of these keeps a KV state', ha='center', transform=plot.transAxes)
    plot.set_yscale('log', base=2)
    plot.yaxis.set_major_formatter('{x:g}')
    plot.set_xticks(range(len(layers)), layers, rotation=90 if len(layers) > 14 else 0)


def _known(values: Iterable[int | None]) -> list[float]:
    return [value for value in values if value is not None] or [float('nan')]


def _of(value: float | None, size: int | None) -> str:
    return '-' if value is None else f'{value:.1f} / {size}'
