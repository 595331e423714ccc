"""Tables and curves of what is finished: python -m benchmarks.comparison.tables --results RESULTS"""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from scipy.stats import t

from benchmarks.model_tables import markdown
from saga_mm.files import make_folder, write_file, write_image

from .mixers import CHOICES, MIXERS
from .plan import EPOCHS, PART_STEPS, RATES, SEEDS, Results, Run, search

CONFIDENCE = 0.95
PARTS = (
    ('classes', 'pvt', 'random', 'Classification, `pvt`: top-1 in percent'),
    ('classes', 'swin', 'random', 'Classification, `swin`: top-1 in percent'),
    ('camvid', 'pvt', 'random', 'CamVid from random weights: mIoU'),
    ('camvid', 'pvt', 'pretrained', 'CamVid from the classifier: mIoU'),
    ('lol', 'unet', 'random', 'LOL: PSNR in dB'),
)


class Interval(NamedTuple):
    """A mean and the half width of its confidence interval; None with fewer than two values."""

    mean: float
    half: float | None

    def __str__(self) -> str:
        return f'{self.mean:+.2f}' + ('' if self.half is None else f' ± {self.half:.2f}')


def interval(values: Sequence[float]) -> Interval:
    """The mean of some values with its confidence interval by Student's t."""
    count = len(values)
    if count < 2:
        return Interval(float(np.mean(values)), None)
    half = t.ppf((1 + CONFIDENCE) / 2, count - 1) * np.std(values, ddof=1) / count**0.5
    return Interval(float(np.mean(values)), float(half))


def runs_of(results: Results, task: str, trunk: str, mixer: str, start: str) -> dict[int, dict[str, Any]]:
    """What the finished runs of a mixer found, by seed."""
    rate = results.rate('classes', 'pvt' if trunk == 'unet' else trunk, mixer)
    if rate is None:
        return {}
    length = EPOCHS if task == 'classes' else PART_STEPS[task]
    found = {seed: results.get(Run(task, trunk, mixer, rate, seed, length, start)) for seed in SEEDS}
    return {seed: run for seed, run in found.items() if run is not None}


def differences(mine: dict[int, dict[str, Any]], theirs: dict[int, dict[str, Any]]) -> list[float]:
    """Differences of the scores of runs of the same seed."""
    return [mine[seed]['score'] - theirs[seed]['score'] for seed in mine if seed in theirs]


def rates_table(results: Results, trunk: str) -> str:
    """Scores of the runs that choose a learning rate."""
    found = {(run.mixer, run.rate): results.get(run) for run in search(trunk, MIXERS)}
    rows = []
    for mixer in MIXERS:
        scores = [found[mixer, rate] for rate in RATES]
        if any(scores):
            rows.append((mixer, *('' if run is None else f'{run["score"]:.2f}' for run in scores)))
    return markdown(('mixer', *(f'{rate:g}' for rate in RATES)), rows) if rows else 'None is finished.'


def scores_table(results: Results, part: tuple[str, str, str], mixers: Iterable[str], references: Sequence[str]) -> str:
    """Scores of mixers, and the mean of the paired differences to each reference with its interval."""
    task, trunk, start = part
    rows = []
    bases = {name: runs_of(results, task, trunk, name, start) for name in references}
    for mixer in mixers:
        runs = runs_of(results, task, trunk, mixer, start)
        if not runs:
            continue
        scores = [run['score'] for run in runs.values()]
        spread = f'{np.std(scores, ddof=1):.2f}' if len(scores) > 1 else ''
        pairs = [differences(runs, base) if mixer != name else [] for name, base in bases.items()]
        first = next(iter(runs.values()))
        rows.append(
            (
                mixer,
                f'{first["rate"]:g}',
                f'{first["parameters"]:,}',
                str(len(runs)),
                f'{np.mean(scores):.2f}',
                spread,
                *(f'{interval(pair)} ({len(pair)})' if pair else '' for pair in pairs),
            )
        )
    header = ('mixer', 'rate', 'parameters', 'runs', 'mean', 'deviation', *(f'minus {name}' for name in references))
    return markdown(header, rows) if rows else 'None is finished.'


def ranks_table(results: Results, trunk: str, mixers: Iterable[str]) -> str:
    """Effective ranks, means over layers and seeds, before the first step and after the last."""
    rows = []
    for mixer in mixers:
        runs = list(runs_of(results, 'classes', trunk, mixer, 'random').values())
        if runs:
            cells = [
                _mean_rank([run['ranks'][look] for run in runs], key)
                for key in ('state_effective', 'output_effective')
                for look in (0, -1)
            ]
            rows.append((mixer, str(len(runs)), *('' if cell is None else f'{cell:.2f}' for cell in cells)))
    header = ('mixer', 'runs', 'state at start', 'state at end', 'output at start', 'output at end')
    return markdown(header, rows) if rows else 'None is finished.'


def costs_table(folder: Path) -> str:
    """What a training step costs, as ``costs.py`` measured it."""
    path = folder / 'costs.json'
    if not path.is_file():
        return 'Not measured.'
    rows = [
        (row['trunk'], row['mixer'], f'{row["time"]:.2f}', f'{row["bytes"]:.2f}')
        for row in json.loads(path.read_text())
    ]
    return markdown(('trunk', 'mixer', 'time of a step by `linear`', 'bytes kept by `linear`'), rows)


def report(results: Results) -> str:
    """All tables, as Markdown."""
    done = len(list(results.folder.glob('*_s*.json')))
    texts = [f'{done} runs are finished. Differences are means over pairs of one seed, whose number is in brackets.']
    for task, trunk, start, title in PARTS:
        texts += [f'### {title}', scores_table(results, (task, trunk, start), MIXERS, ('linear', 'saga'))]
    choices = ('saga', 'linear', *CHOICES)
    texts += [
        "### SAGA's choices, `pvt`: top-1 in percent",
        scores_table(results, ('classes', 'pvt', 'random'), choices, ('saga', 'linear')),
        '### Effective ranks, `pvt`',
        ranks_table(results, 'pvt', (*MIXERS, *CHOICES)),
        '### Cost of a step',
        costs_table(results.folder),
        '### Search of the learning rate: top-1 after 10 epochs',
        '`pvt`:',
        rates_table(results, 'pvt'),
        '`swin`:',
        rates_table(results, 'swin'),
    ]
    return '\n\n'.join(texts) + '\n'


def plot_curves(results: Results, path: Path, trunk: str = 'pvt') -> Path | None:
    """Draw score, state rank and output rank along the training of classifiers; None if none is finished."""
    from matplotlib.figure import Figure

    found = {mixer: list(runs_of(results, 'classes', trunk, mixer, 'random').values()) for mixer in MIXERS}
    found = {mixer: runs for mixer, runs in found.items() if runs}
    if not found:
        return None
    figure = Figure(figsize=(12, 3.6), layout='constrained')
    panels = figure.subplots(1, 3)
    titles = ('top-1 in percent', 'effective rank of the state', 'effective rank of the output')
    for axes, title in zip(panels, titles, strict=True):
        axes.set(title=title, xlabel='steps')
        axes.grid(alpha=0.3)
    for mixer, runs in found.items():
        scores = np.mean([[look['score'] for look in run['scores']] for run in runs], axis=0)
        panels[0].plot([look['step'] for look in runs[0]['scores']], scores, label=f'{mixer} ({len(runs)})')
        for axes, key in ((panels[1], 'state_effective'), (panels[2], 'output_effective')):
            ranks = [_mean_rank([run['ranks'][i] for run in runs], key) for i in range(len(runs[0]['ranks']))]
            steps = [look['step'] for look in runs[0]['ranks']]
            # softmax has no state; its line keeps the colours of the others the same
            axes.plot(steps, [np.nan if rank is None else rank for rank in ranks], label=mixer)
    panels[0].legend(fontsize=8)
    make_folder(path.parent)
    write_image(path, figure.savefig, dpi=110)
    return path


def _mean_rank(looks: list[dict[str, Any]], key: str) -> float | None:
    values = [layer[key] for look in looks for layer in look['layers'] if layer[key] is not None]
    return float(np.mean(values)) if values else None


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument('--results', type=Path, required=True, help='folder of the results')
    parser.add_argument('--out', type=Path, help='file for the tables (default: print them)')
    parser.add_argument('--plot', type=Path, help='file for the curves')
    args = parser.parse_args()
    results = Results(args.results)
    if args.out:
        write_file(args.out, report(results))
    else:
        print(report(results), end='')
    if args.plot:
        plot_curves(results, args.plot)


if __name__ == '__main__':
    main()
