"""What is trained, in which order, and where its results lie."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from .mixers import CHOICES, MIXERS

RATES = (5e-4, 1e-3, 2e-3)
SEARCH_SEED, SEEDS = 0, (1, 2, 3)
SEARCH_EPOCHS, EPOCHS = 10, 30
# the question that the comparison is about
FIRST = ('linear', 'saga')
PART_STEPS = {'camvid': 1200, 'lol': 1500}


@dataclass(frozen=True)
class Run:
    """One training.

    Attributes:
        task: ``'classes'``, ``'camvid'`` or ``'lol'``.
        trunk: A name of :data:`~benchmarks.comparison.mixers.TRUNKS`, or ``'unet'``.
        mixer: A name of ``MIXERS`` or ``CHOICES``.
        rate: Largest learning rate.
        seed: Of weights, order of the data, crops and stochastic depth.
        length: Epochs for ``'classes'``, steps for the others.
        start: ``'random'``, or ``'pretrained'`` from the classifier of the same mixer and seed.
    """

    task: str
    trunk: str
    mixer: str
    rate: float
    seed: int
    length: int
    start: str = 'random'

    @property
    def name(self) -> str:
        start = '' if self.start == 'random' else f'_{self.start}'
        return f'{self.task}_{self.trunk}_{self.mixer}_lr{self.rate:g}_{self.length}_s{self.seed}{start}'


class Results:
    """Finished runs in a folder, one JSON file and one file of weights each."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def path(self, run: Run) -> Path:
        return self.folder / f'{run.name}.json'

    def weights(self, run: Run) -> Path:
        return self.folder / f'{run.name}.pth'

    def get(self, run: Run) -> dict[str, Any] | None:
        """What a run found; None as long as it is not finished."""
        path = self.path(run)
        return json.loads(path.read_text()) if path.is_file() else None

    def rate(self, task: str, trunk: str, mixer: str) -> float | None:
        """The learning rate of the best search run; None as long as they are not all finished.

        SAGA's variants take the rate of SAGA.
        """
        searched = 'saga' if mixer in CHOICES else mixer
        found = {rate: self.get(Run(task, trunk, searched, rate, SEARCH_SEED, SEARCH_EPOCHS)) for rate in RATES}
        if None in found.values():
            return None
        return max(RATES, key=lambda rate: found[rate]['score'])


def search(trunk: str, mixers: Iterable[str]) -> list[Run]:
    """The runs that choose a learning rate for each mixer."""
    return [Run('classes', trunk, mixer, rate, SEARCH_SEED, SEARCH_EPOCHS) for mixer in mixers for rate in RATES]


def compared(results: Results, task: str, trunk: str, mixers: Iterable[str], start: str = 'random') -> Iterator[Run]:
    """The runs that are compared, all mixers with one seed before the next.

    A run is left out as long as its learning rate is not known or the classifier that it starts from is not trained.
    """
    length = EPOCHS if task == 'classes' else PART_STEPS[task]
    for seed in SEEDS:
        for mixer in mixers:
            rate = results.rate('classes', 'pvt' if trunk == 'unet' else trunk, mixer)
            if rate is None or (start == 'pretrained' and results.get(classifier(trunk, mixer, rate, seed)) is None):
                continue
            yield Run(task, trunk, mixer, rate, seed, length, start)


def classifier(trunk: str, mixer: str, rate: float, seed: int) -> Run:
    """The classifier that a run of another task with this mixer and seed starts from."""
    return Run('classes', trunk, mixer, rate, seed, EPOCHS)


def plan(results: Results) -> Iterator[Run]:
    """All runs, the most telling first; a run of a later part reads what earlier ones found when it is asked for."""
    for mixers in (FIRST, MIXERS):
        yield from search('pvt', mixers)
        yield from compared(results, 'classes', 'pvt', mixers)
    yield from compared(results, 'classes', 'pvt', CHOICES)
    for start in ('random', 'pretrained'):
        yield from compared(results, 'camvid', 'pvt', MIXERS, start)
    yield from search('swin', MIXERS)
    yield from compared(results, 'classes', 'swin', MIXERS)
    yield from compared(results, 'lol', 'unet', MIXERS)


def as_dict(run: Run) -> dict[str, Any]:
    return {'name': run.name, **asdict(run)}
