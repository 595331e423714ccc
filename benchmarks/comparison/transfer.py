"""What pretraining brings: python -m benchmarks.comparison.transfer --data DATA --results RESULTS --out OUT

A segmentor on CamVid and a detector on 80 images of COCO are trained from the backbone of the comparison's classifier
and from random weights, at equal steps, by the command that users have.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from benchmarks.model_tables import markdown
from saga_mm.errors import SagaError
from saga_mm.files import locked_folder, write_file

from .plan import SEEDS, Results, classifier
from .tables import interval

ROOT = Path(__file__).resolve().parents[2]
# the classifier of the comparison that trainings start from
TRUNK, MIXER, RATE = 'pvt', 'saga', 2e-3
# what is measured, and its scale
MEASURES = {
    'upernet_saga-pvt-mini_1k_camvid-144x192': ('mIoU', 1),
    'mask-rcnn_saga-pvt-mini_fpn_1k_coco-tiny': ('coco/bbox_mAP', 100),
}
FOLDERS = ('camvid', 'coco_tiny')
LAST_LOSSES = 5


class Step(NamedTuple):
    """One training.

    Attributes:
        config: Its config's name.
        seed: Its seed.
        pretrained: Whether it starts from the classifier of the same seed.
    """

    config: str
    seed: int
    pretrained: bool = False

    @property
    def name(self) -> str:
        return f'{self.config}_s{self.seed}' + '_pretrained' * self.pretrained


def steps() -> Iterator[Step]:
    """All trainings, in order."""
    for config in MEASURES:
        for seed in SEEDS:
            yield Step(config, seed)
            yield Step(config, seed, pretrained=True)


def command(step: Step, results: Results, out: Path) -> list[str]:
    """The command of a training, or of the rest of it."""
    program, config = ROOT / 'tools' / 'train.py', ROOT / 'configs' / 'transfer' / f'{step.config}.py'
    folder, start = out / step.name, []
    if any(folder.glob('*.pth')):
        start = ['--resume']
    elif step.pretrained:
        start = ['--weights', str(results.weights(classifier(TRUNK, MIXER, RATE, step.seed)).resolve())]
    seed = ['--cfg-options', f'randomness.seed={step.seed}']
    return [sys.executable, str(program), str(config), '--work-dir', str(folder), *start, *seed]


def figures(folder: Path, measure: str, scale: float) -> dict[str, float]:
    """The last figure of an evaluation and the mean of the last losses, from the logs of a work folder.

    Raises:
        SagaError: The logs hold none.
    """
    rows = [
        json.loads(line)
        for log in sorted(folder.glob('*/vis_data/scalars.json'))
        for line in log.read_text().splitlines()
    ]
    scores, losses = ([row[key] for row in rows if key in row] for key in (measure, 'loss'))
    if not scores or not losses:
        raise SagaError(f'{folder}: its logs hold no {measure}, or no loss')
    return {'score': scale * scores[-1], 'loss': float(np.mean(losses[-LAST_LOSSES:]))}


def run(step: Step, data: Path, results: Results, out: Path) -> None:
    """Train, in a folder with the data sets under the names that the configs have for them.

    Raises:
        SagaError: The training failed; its output was printed.
    """
    place = out / 'place'
    (place / 'data').mkdir(parents=True, exist_ok=True)
    for folder in FOLDERS:
        link = place / 'data' / folder
        if not link.is_symlink():
            link.symlink_to((data / folder).resolve())
    environment = {**os.environ, 'PYTHONPATH': str(ROOT)}
    done = subprocess.run(command(step, results, out.resolve()), cwd=place, env=environment)
    if done.returncode:
        raise SagaError(f'{step.name}: the training ended with status {done.returncode}')
    found = figures(out / step.name, *MEASURES[step.config])
    write_file(out / f'{step.name}.json', json.dumps({**step._asdict(), **found}, indent=1))


def table(out: Path) -> str:
    """Scores with random and with pretrained weights, and the mean of the paired differences."""
    rows = []
    for config, (measure, _) in MEASURES.items():
        found: dict[bool, dict[int, dict[str, Any]]] = {False: {}, True: {}}
        for step in steps():
            path = out / f'{step.name}.json'
            if step.config == config and path.is_file():
                found[step.pretrained][step.seed] = json.loads(path.read_text())
        cells = [_spread([run['score'] for run in runs.values()]) for runs in found.values()]
        pairs = [
            found[True][seed]['score'] - found[False][seed]['score'] for seed in found[True] if seed in found[False]
        ]
        losses = [
            '' if not runs else f'{np.mean([run["loss"] for run in runs.values()]):.3f}' for runs in found.values()
        ]
        difference = f'{interval(pairs)} ({len(pairs)})' if pairs else ''
        rows.append((config, measure.rpartition('/')[2], *cells, difference, *losses))
    header = ('config', 'score', 'random', 'pretrained', 'difference', 'last losses, random', 'pretrained')
    return markdown(header, rows)


def _spread(scores: list[float]) -> str:
    if len(scores) < 2:
        return ''.join(f'{score:.2f} (1)' for score in scores)
    return f'{np.mean(scores):.2f} ± {np.std(scores, ddof=1):.2f} ({len(scores)})'


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('--data', type=Path, help='folder with camvid and coco_tiny; without it, the table')
    parser.add_argument('--results', type=Path, help='folder of the comparison, with the trained classifiers')
    parser.add_argument('--out', type=Path, required=True, help='folder of the results, which are not run again')
    args = parser.parse_args()
    if args.data is None:
        print(table(args.out))
        return
    if args.results is None:
        parser.error('--data needs --results: trainings start from its classifiers')
    args.out.mkdir(parents=True, exist_ok=True)
    with locked_folder(args.out, f'--out {args.out}: another transfer is running in this folder'):
        for step in steps():
            if not (args.out / f'{step.name}.json').is_file():
                run(step, args.data, Results(args.results), args.out)


if __name__ == '__main__':
    main()
