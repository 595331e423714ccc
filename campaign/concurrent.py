"""Several tools at once in the same folders."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from pathlib import Path
from random import Random

import numpy as np

from campaign.kills import compare_trainings, start_training
from campaign.process import Result, start
from campaign.tally import Tally
from campaign.world import CONFIGS, PREDICTED, TASKS, WITH_DEMO_DATA, World
from saga_mm.errors import SagaError
from saga_mm.files import is_draft
from saga_mm.images.photo import read_photo

COUNT = 24
NAME = 'concurrent'


def attack(world: World, place: Path, tally: Tally, drawn: Random, count: int) -> None:
    """Run each kind of company in turn."""
    kinds = list(KINDS.items())
    for job in tally.jobs(NAME, count):
        name, meet = kinds[job.number % len(kinds)]
        folder = place / str(job.number)
        folder.mkdir()
        job.add(name, *meet(world, folder, job.drawn))
        job.close()


def _worst(results: list[Result]) -> tuple[str, str]:
    """What is wrong with the first of several tools that is neither right nor refused in order."""
    bad = [result for result in results if result.outcome not in ('right', 'clear error')]
    return (bad[0].outcome, str(bad[0])) if bad else ('right', '')


def _trainings(world: World, place: Path, drawn: Random) -> tuple[str, str]:
    """Two trainings in one folder: one is refused, the other gives what it gives alone."""
    task = drawn.choice(TASKS)
    alone, shared = world.copy_data(task, _made(place / 'alone')), world.copy_data(task, _made(place / 'shared'))
    start_training(task, 0, alone).wait()
    first = start_training(task, 0, shared)
    time.sleep(drawn.uniform(0, 2))
    both = [first, start_training(task, 0, shared)]
    results = [running.wait() for running in both]
    outcome, detail = _worst(results)
    if outcome == 'right' and sorted(result.outcome for result in results) != ['clear error', 'right']:
        return 'silent', f'two trainings in one folder: {results[0]}; {results[1]}'
    difference = compare_trainings(alone / 'work', shared / 'work') if outcome == 'right' else ''
    return ('silent', difference) if difference else (outcome, detail)


def _enhancers(world: World, place: Path, drawn: Random) -> tuple[str, str]:
    """Three that write the same pictures over and over."""
    words = ['enhance', world.pictures, '-o', f'{place / "shared"}/', '--weights', world.weights, '--overwrite']
    started = []
    for _ in range(3):
        started.append(start(*words, cwd=place))
        time.sleep(drawn.uniform(0, 0.3))
    outcome, detail = _worst([running.wait() for running in started])
    words[3] = f'{place / "alone"}/'
    start(*words, cwd=place).wait()
    for whole in sorted((place / 'alone').iterdir()):
        try:
            same = np.array_equal(read_photo(whole).pixels, read_photo(place / 'shared' / whole.name).pixels)
        except SagaError as error:
            return 'silent', str(error)
        if not same:
            return 'silent', f'{whole.name} is another picture'
    return _without_drafts(place, outcome, detail)


def _beside_a_training(world: World, place: Path, drawn: Random) -> tuple[str, str]:
    """Evaluations of the best checkpoint of a folder while a training goes on in it."""
    task = drawn.choice(TASKS)
    world.copy_data(task, place)
    start_training(task, 0, place).wait()
    training = start_training(task, 0, place)
    tests = []
    for number in range(2):
        time.sleep(drawn.uniform(0, 1))
        tests.append(start('test', CONFIGS[task], 'work', '--work-dir', f'test-{number}', cwd=place))
    results = [running.wait() for running in (training, *tests)]
    bad = [result for result in results if result.outcome != 'right']
    return (bad[0].outcome if bad[0].outcome != 'clear error' else 'silent', str(bad[0])) if bad else ('right', '')


def _predictions(world: World, place: Path, drawn: Random) -> tuple[str, str]:
    """Two predictions into one folder: the list is whole."""
    task = drawn.choice(PREDICTED)
    words = ['predict', CONFIGS[task], world.checkpoint(task), world.images(task), '--out', place / 'out']
    both = [start(*words, cwd=place), start(*words, cwd=place)]
    outcome, detail = _worst([running.wait() for running in both])
    listed = json.loads((place / 'out/predictions.json').read_text())
    if len(listed['images']) != len(list(world.images(task).iterdir())):
        return 'silent', f'{place}/out/predictions.json is not complete'
    return _without_drafts(place, outcome, detail)


def _demo_data(world: World, place: Path, drawn: Random) -> tuple[str, str]:
    """Three that make the same demo data, which are those of one alone."""
    task = drawn.choice(WITH_DEMO_DATA)
    words = ['check_dataset', CONFIGS[task], '--max-pictures', 0]
    started = [start(*words, '--work-dir', f'work-{number}', cwd=place) for number in range(3)]
    alone = _made(place / 'alone')
    results = [running.wait() for running in [*started, start(*words, '--work-dir', 'work', cwd=alone)]]
    bad = [result for result in results if result.outcome != 'right']
    if bad:
        return bad[0].outcome if bad[0].outcome != 'clear error' else 'silent', str(bad[0])
    for path in (alone / 'data').rglob('*'):
        other = place / path.relative_to(alone)
        if path.is_file() and path.suffix != '.lock' and path.read_bytes() != other.read_bytes():
            return 'silent', f'{other} is another file'
    return 'right', ''


def _publications(world: World, place: Path, drawn: Random) -> tuple[str, str]:
    """Three that write the same file of weights; and of two that do not replace, what is there is whole."""
    force = ['--force'] * (drawn.random() < 0.5)
    words = ['publish_weights', CONFIGS['lowlight'], world.checkpoint('lowlight'), place / 'weights.npz', *force]
    outcome, detail = _worst([running.wait() for running in [start(*words, cwd=place) for _ in range(3)]])
    with np.load(place / 'weights.npz') as arrays, np.load(world.weights) as whole:
        if any(not np.array_equal(arrays[name], whole[name]) for name in whole.files if name != 'meta'):
            return 'silent', 'other weights'
    return _without_drafts(place, outcome, detail)


def _without_drafts(place: Path, outcome: str, detail: str) -> tuple[str, str]:
    rest = [path for path in place.rglob('*') if is_draft(path)]
    return ('silent', f'{rest[0]} was left') if rest and outcome == 'right' else (outcome, detail)


def _made(folder: Path) -> Path:
    folder.mkdir()
    return folder


KINDS: dict[str, Callable[[World, Path, Random], tuple[str, str]]] = {
    'two trainings': _trainings,
    'three enhancers': _enhancers,
    'a test beside a training': _beside_a_training,
    'two predictions': _predictions,
    'three makers of demo data': _demo_data,
    'three publications': _publications,
}
