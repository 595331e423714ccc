"""Kills of trainings with two processes (gloo); resumed ones are compared bit for bit with uninterrupted ones.

Processes are forked and given the variables of torchrun. Both are ended at a moment, as by a cluster, or one is killed
and the other ended soon after, as torchrun does.
"""

from __future__ import annotations

import os
import signal
import socket
import time
from collections.abc import Callable
from pathlib import Path
from random import Random

from campaign.kills import LENGTH, compare_trainings, drafts, state_after_kill
from campaign.process import Result, Running, start
from campaign.tally import Job, Tally
from campaign.world import CONFIGS, TASKS, World

COUNT = 12
NAME = 'distributed'
PROCESSES = 2
# how both are ended: killed or told to at one moment, or one killed and the other told to
WAYS = ('SIGKILL', 'SIGTERM', 'one')
# seconds after which torchrun has noticed that a process ended
NOTICED = 0.2


def attack(world: World, place: Path, tally: Tally, drawn: Random, count: int) -> None:
    """Kill trainings of each task, resume them, and compare what they end with."""
    wholes: dict[str, tuple[Path, float]] = {}
    for job in tally.jobs(NAME, count):
        task = TASKS[job.number % len(TASKS)]
        if task not in wholes:
            whole = world.copy_data(task, place / f'{task}-whole')
            results = _wait(_start(task, whole))
            if bad := [result for result in results if result.outcome != 'right']:
                job.add(f'{task} uninterrupted', bad[0].outcome, str(bad[0]))
                job.close()
                return
            wholes[task] = whole, results[0].seconds
        folder = world.copy_data(task, place / f'training-{job.number}')
        _training(task, folder, wholes[task], job)
        job.close()


def _training(task: str, folder: Path, whole: tuple[Path, float], job: Job) -> None:
    drawn = job.drawn
    kills = drawn.choice((1, 1, 2))
    for number in range(kills):
        way = drawn.choice(WAYS)
        left = drafts(folder / 'work')
        running = _start(task, folder, *(['--resume'] if number else []))
        time.sleep(drawn.uniform(0.2, whole[1]))
        for index, process in enumerate(running):
            if way == 'one' and index:
                time.sleep(NOTICED)
            process.send(signal.SIGTERM if way == 'SIGTERM' or (way == 'one' and index) else signal.SIGKILL)
        worst = _worst(_wait(running), way)
        outcome, detail = worst if worst else state_after_kill(folder / 'work', way == 'SIGTERM', left)
        job.add(f'{task}, {way}, kill {number + 1} of {kills}', outcome, detail)
    results = _wait(_start(task, folder, '--resume'))
    name = f'{task}, resumed after {kills}'
    bad = [result for result in results if result.outcome != 'right']
    if bad:
        job.add(name, bad[0].outcome, str(bad[0]))
        return
    difference = compare_trainings(whole[0] / 'work', folder / 'work')
    job.add(name, 'silent' if difference else 'right', difference)


def _start(task: str, folder: Path, *more: str) -> list[Running]:
    with socket.socket() as free:
        free.bind(('127.0.0.1', 0))
        port = free.getsockname()[1]
    options = [*LENGTH[task], 'train_dataloader.num_workers=0', 'randomness.seed=7']
    words = [CONFIGS[task], '--launcher', 'pytorch', '--work-dir', 'work', *more, '--cfg-options', *options]
    return [start('train', *words, cwd=folder, prepare=_as_process(rank, port)) for rank in range(PROCESSES)]


def _as_process(rank: int, port: int) -> Callable[[], None]:
    """Have a process find the variables that torchrun sets."""

    def prepare() -> None:
        facts = {'RANK': rank, 'LOCAL_RANK': rank, 'WORLD_SIZE': PROCESSES, 'MASTER_PORT': port}
        os.environ.update({name: str(value) for name, value in facts.items()}, MASTER_ADDR='127.0.0.1')

    return prepare


def _wait(running: list[Running]) -> list[Result]:
    return [process.wait() for process in running]


def _worst(results: list[Result], way: str) -> tuple[str, str] | None:
    """What is wrong with how processes ended; one whose other was killed may say so in whatever way."""
    for result in results:
        if result.outcome == 'hang' or (way == 'SIGTERM' and result.outcome in ('traceback', 'crash')):
            return result.outcome, str(result)
    return None
