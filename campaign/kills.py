"""Kills at random moments and inside writes; resumed trainings are compared bit for bit with uninterrupted ones."""

from __future__ import annotations

import itertools
import os
import resource
import shutil
import signal
from collections.abc import Callable, Generator, Iterator
from pathlib import Path
from random import Random
from typing import Any, NamedTuple

import numpy as np
import torch

from campaign.process import Result, Running, start, together
from campaign.tally import Job, Tally
from campaign.world import CONFIGS, PREDICTED, TASKS, World
from saga_mm import files
from saga_mm.errors import SagaError
from saga_mm.files import is_draft
from saga_mm.images.photo import read_photo
from saga_mm.loading.checkpoint import load_checkpoint

COUNT = 100
NAME = 'kills'
# options of each task's training, which last some three seconds
LENGTH = {
    'detection': ['train_cfg.max_epochs=3', 'default_hooks.checkpoint.max_keep_ckpts=1'],
    'segmentation': ['train_cfg.max_epochs=3', 'default_hooks.checkpoint.max_keep_ckpts=1'],
    'lowlight': ['train_cfg.max_iters=8', 'default_hooks.checkpoint.max_keep_ckpts=2'],
    'classification': ['train_cfg.max_epochs=3', 'default_hooks.checkpoint.max_keep_ckpts=1'],
}
WORKERS = (0, 2)
# seconds in which a tool has begun to hear signals; before that they end it as any program
START = 0.5
# how trainings are ended: killed at a moment, inside a write, around a rename; told to end, with their workers or alone
WAYS = ('moment', 'write', 'rename', 'SIGINT', 'SIGTERM', 'SIGTERM of all')
# facts of a checkpoint that differ from run to run
TIMED = ('time', 'data_time', 'eta', 'memory', 'experiment_name', 'cfg')


def attack(world: World, place: Path, tally: Tally, drawn: Random, count: int) -> None:
    """Kill trainings of every task, and tools that write pictures."""
    writers = count // 5
    left, planned = max(count - writers, 1), []
    while left > 0:
        planned.append(min(left, drawn.choice((1, 1, 2, 3))))
        left -= planned[-1]
    wholes: dict[tuple[str, int], Whole] = {}
    together(_jobs(world, place, tally, planned, writers, wholes))


class Whole(NamedTuple):
    """An uninterrupted training."""

    folder: Path
    seconds: float


def _jobs(
    world: World,
    place: Path,
    tally: Tally,
    planned: list[int],
    writers: int,
    wholes: dict[tuple[str, int], Whole],
) -> Iterator[Generator[Running, Result, None]]:
    kinds = list(itertools.product(TASKS, WORKERS))
    (place / 'writers').mkdir()
    for job in tally.jobs(NAME, len(planned) + writers):
        if job.number < len(planned):
            kind = kinds[job.number % len(kinds)]
            yield job.closing(_training(world, place, job, planned[job.number], *kind, wholes))
        else:
            number = job.number - len(planned)
            yield job.closing(_kill_writer(world, place / 'writers', job, number, number == writers - 1))


def start_training(task: str, workers: int, folder: Path, *more: str, prepare: Callable | None = None) -> Running:
    """Start a task's training in a folder that has its data."""
    options = [*LENGTH[task], f'train_dataloader.num_workers={workers}', 'randomness.seed=7']
    words = [CONFIGS[task], '--work-dir', 'work', *more, '--cfg-options', *options]
    return start('train', *words, cwd=folder, prepare=prepare)


def _training(
    world: World,
    place: Path,
    job: Job,
    kills: int,
    task: str,
    workers: int,
    wholes: dict[tuple[str, int], Whole],
) -> Generator[Running, Result, None]:
    """Kill one training some times, resume it each time, and compare what it ends with."""
    if (task, workers) not in wholes:
        folder = world.copy_data(task, place / f'whole-{job.number}')
        result = yield start_training(task, workers, folder)
        if result.outcome != 'right':
            job.add(f'{task} uninterrupted', result.outcome, str(result))
            return
        wholes[task, workers] = Whole(folder, result.seconds)
    whole, folder, drawn = wholes[task, workers], place / f'training-{job.number}', job.drawn
    world.copy_data(task, folder)
    for number in range(kills):
        way = drawn.choice(WAYS)
        name = f'{task}, {workers} workers, {way}, kill {number + 1} of {kills}'
        left = drafts(folder / 'work')
        more = ['--resume'] if number else []
        if way in ('write', 'rename'):
            prepare = killed_in_write(drawn) if way == 'write' else killed_at_rename(drawn)
            result = yield start_training(task, workers, folder, *more, prepare=prepare)
        else:
            sent = getattr(signal, way.split()[0], signal.SIGKILL)
            running = start_training(task, workers, folder, *more)
            moment = drawn.uniform(START, max(whole.seconds, 2 * START))
            result = yield running.stop_after(moment, sent, way.endswith('all'))
        job.add(name, *_after_kill(folder / 'work', result, way, left))
    result = yield start_training(task, workers, folder, '--resume')
    name = f'{task}, {workers} workers, resumed after {kills}'
    if result.outcome != 'right':
        job.add(name, result.outcome, str(result))
        return
    difference = compare_trainings(whole.folder / 'work', folder / 'work')
    job.add(name, 'silent' if difference else 'right', difference)
    if not difference:
        shutil.rmtree(folder)


def _after_kill(work: Path, result: Result, way: str, left: list[Path]) -> tuple[str, str]:
    """Whether all checkpoints are whole, and whether a tool that was told to end said so."""
    if result.outcome in ('traceback', 'hang') or (way.startswith('SIG') and result.outcome == 'crash'):
        return result.outcome, str(result)
    return state_after_kill(work, way.startswith('SIG'), left)


def state_after_kill(work: Path, asked: bool, left: list[Path]) -> tuple[str, str]:
    """Whether all checkpoints of a folder are whole, and nothing is left by a training that was asked to end.

    What an earlier kill ``left`` is removed by the next process that writes there, if it comes to that.
    """
    for path in work.glob('*.pth') if work.exists() else ():
        try:
            load_checkpoint(path)
        except SagaError as error:
            return 'silent', f'a checkpoint is not whole: {error}'
    if asked and (rest := [path for path in drafts(work) if path not in left]):
        return 'silent', f'{rest[0]} was left'
    return 'right', ''


def killed_in_write(drawn: Random) -> Callable[[], None]:
    """Have a process killed in the middle of writing one of its files."""
    number, size = drawn.randrange(8), drawn.randrange(400_000)

    def prepare() -> None:
        made = [0]
        create = files._create

        def counted(folder: Path) -> tuple[Path, int]:
            made[0] += 1
            if made[0] > number:
                signal.signal(signal.SIGXFSZ, signal.SIG_DFL)
                resource.setrlimit(resource.RLIMIT_FSIZE, (size, size))
            return create(folder)

        files._create = counted

    return prepare


def killed_at_rename(drawn: Random) -> Callable[[], None]:
    """Have a process killed just before or after a file gets its name."""
    number, before = drawn.randrange(12), drawn.random() < 0.5

    def prepare() -> None:
        made, replace = [0], os.replace

        def counted(*names: Any) -> None:
            made[0] += 1
            if made[0] == number and before:
                os.kill(os.getpid(), signal.SIGKILL)
            replace(*names)
            if made[0] == number:
                os.kill(os.getpid(), signal.SIGKILL)

        os.replace = counted

    return prepare


def compare_trainings(whole: Path, resumed: Path) -> str:
    """The first thing in which the results of two trainings differ; empty where all bits are the same."""
    names, others = ({path.name for path in folder.glob('*.pth')} for folder in (whole, resumed))
    if names != others:
        return f'checkpoints {sorted(others)} instead of {sorted(names)}'
    if rest := drafts(resumed):
        return f'{rest[0]} was left'
    for name in sorted(names):
        first, second = (load_checkpoint(folder / name) for folder in (whole, resumed))
        if difference := _difference(first, second, name):
            return difference
    return ''


def drafts(folder: Path) -> list[Path]:
    """Temporary files in a folder."""
    return [path for path in folder.rglob('*') if is_draft(path)] if folder.exists() else []


def _difference(first: Any, second: Any, where: str) -> str:
    if isinstance(first, dict) and isinstance(second, dict):
        if where.endswith('.meta'):
            keys = ('epoch', 'iter', 'seed', 'random')
            first, second = ({key: each.get(key) for key in keys} for each in (first, second))
        keys = [key for key in dict.fromkeys([*first, *second]) if str(key).rpartition('/')[2] not in TIMED]
        lacking = [key for key in keys if key not in first or key not in second]
        if lacking:
            return f'{where}: {lacking[0]} is in one alone'
        found = (_difference(first[key], second[key], f'{where}.{key}') for key in keys)
        return next(filter(None, found), '')
    if isinstance(first, (list, tuple)) and isinstance(second, (list, tuple)) and len(first) == len(second):
        found = (_difference(a, b, f'{where}.{i}') for i, (a, b) in enumerate(zip(first, second)))
        return next(filter(None, found), '')
    if hasattr(first, 'data') and type(first).__name__ == 'HistoryBuffer':
        return '' if np.array_equal(first.data[0], second.data[0]) else f'{where}: other figures'
    if isinstance(first, torch.Tensor):
        same = isinstance(second, torch.Tensor) and first.dtype == second.dtype and torch.equal(first, second)
        return '' if same else f'{where}: other numbers'
    if isinstance(first, str) and isinstance(second, str):
        # paths of the two folders
        first, second = Path(first).name, Path(second).name
    return (
        '' if type(first) is type(second) and (first == second or first != first) else f'{where}: {second} != {first}'
    )


def _kill_writer(world: World, folder: Path, job: Job, number: int, is_last: bool) -> Generator[Running, Result, None]:
    """Kill a tool that writes pictures, and read what it left under final names."""
    out, drawn = folder / str(number), job.drawn
    if number % 2:
        words = ['enhance', world.pictures, '-o', out, '--weights', world.weights, '--compare']
    else:
        task = drawn.choice(PREDICTED)
        words = ['predict', CONFIGS[task], world.checkpoint(task), world.pictures, '--out', out]
    prepare = drawn.choice((killed_in_write(drawn), killed_at_rename(drawn), None))
    running = start(*words, cwd=folder, prepare=prepare)
    result = yield running.stop_after(drawn.uniform(0.05, 3)) if prepare is None else running
    outcome, detail = ('right', '') if result.outcome == 'crash' else (result.outcome, str(result))
    for path in sorted(out.rglob('*.*')) if out.exists() else ():
        if is_draft(path) or path.suffix == '.json' or not path.is_file():
            continue
        try:
            read_photo(path)
        except SagaError as error:
            outcome, detail = 'silent', f'not whole under its own name: {error}'
    job.add(f'{words[0]} killed', outcome, detail)
    if is_last:
        again = yield start(*words, *(['--overwrite'] if number % 2 else []), cwd=folder)
        rest = drafts(out)
        outcome = again.outcome if not rest else 'silent'
        job.add(f'{words[0]} after a kill', outcome, str(rest[0]) if rest else str(again))
