"""Full disks and folders that cannot be written to, for every tool that writes.

A file system of its own in memory (``mount -t tmpfs``) where the campaign may mount one; else no file of the tool may
grow beyond a size (``RLIMIT_FSIZE``), at which writes fail with another error. Read-only is a mount as well; without
one, a folder without the right to write, which the administrator has all the same.
"""

from __future__ import annotations

import os
import subprocess
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from random import Random
from typing import NamedTuple

from campaign.process import Result, limit_files, run
from campaign.tally import Job, Tally
from campaign.world import CONFIGS, TASKS, World
from saga_mm.files import is_draft

COUNT = 68
NAME = 'disk'
ROOM = 8 * 2**20
# free bytes at the start, of a disk that is full from the beginning or in the middle
FREE = (0, 4096, 20_000, 120_000, 700_000)


def attack(world: World, place: Path, tally: Tally, drawn: Random, count: int) -> None:
    """Run every tool that writes on a disk that is, or becomes, full, and in a folder that is read-only."""
    tools = commands(world)
    with small_disk(place) as disk:
        tally.say(
            'full disks are a tmpfs of 8 MB' if disk else 'full disks are RLIMIT_FSIZE, for nothing can be mounted'
        )
        for job in tally.jobs(NAME, count):
            tool, turn = tools[job.number % len(tools)], job.number // len(tools)
            if turn == 1 and disk:
                _read_only(world, tool, disk, job)
            else:
                free = FREE[0] if turn == 0 else job.drawn.choice(FREE[1:])
                _full(world, tool, disk or place / f'{job.number}', free, disk is None, job)
            job.close()


class Tool(NamedTuple):
    """A tool that writes.

    Attributes:
        name: What it is called in the table.
        task: In whose folder it finds its data.
        words: Its command line for a folder of results.
    """

    name: str
    task: str
    words: Callable[[Path], list[object]]


def commands(world: World) -> list[Tool]:
    """Every tool that writes."""
    detection, segmentation, lowlight, classification = ([CONFIGS[task], world.checkpoint(task)] for task in TASKS)
    images = world.images('segmentation')
    return [
        Tool('train', 'lowlight', lambda out: ['train', lowlight[0], '--work-dir', out]),
        Tool('train detection', 'detection', lambda out: ['train', detection[0], '--work-dir', out]),
        Tool(
            'test --out',
            'segmentation',
            lambda out: ['test', *segmentation, '--work-dir', out / 'w', '--out', out / 'figures.json'],
        ),
        Tool(
            'test --show-dir',
            'detection',
            lambda out: ['test', *detection, '--work-dir', out / 'w', '--show-dir', out / 'drawn'],
        ),
        Tool('train classification', 'classification', lambda out: ['train', classification[0], '--work-dir', out]),
        Tool(
            'test --out of classification',
            'classification',
            lambda out: ['test', *classification, '--work-dir', out / 'w', '--out', out / 'figures.json'],
        ),
        Tool('predict classification', 'segmentation', lambda out: ['predict', *classification, images, '--out', out]),
        Tool('predict detection', 'detection', lambda out: ['predict', *detection, images, '--out', out]),
        Tool('predict segmentation', 'segmentation', lambda out: ['predict', *segmentation, images, '--out', out]),
        Tool(
            'enhance',
            'lowlight',
            lambda out: ['enhance', world.pictures, '-o', out, '--weights', world.weights, '--compare'],
        ),
        Tool(
            'enhance video',
            'lowlight',
            lambda out: ['enhance', world.clip, '-o', out / 'clip.mp4', '--weights', world.weights],
        ),
        Tool(
            'check_dataset',
            'segmentation',
            lambda out: ['check_dataset', segmentation[0], '--out', out / 'd', '--work-dir', out],
        ),
        Tool(
            'visualize_gates',
            'segmentation',
            lambda out: ['visualize_gates', *segmentation, next(images.iterdir()), '--out', out],
        ),
        Tool(
            'analyze_rank',
            'segmentation',
            lambda out: ['analyze_rank', *segmentation, images, '--size', 64, 64, '--out', out],
        ),
        Tool('publish_weights', 'lowlight', lambda out: ['publish_weights', *lowlight, out / 'weights.npz']),
        Tool('export', 'lowlight', lambda out: ['export', world.weights, '--out', out / 'tiny.onnx']),
        Tool('report', 'lowlight', lambda out: ['report', out]),
    ]


def _full(world: World, tool: Tool, disk: Path, free: int, is_limit: bool, job: Job) -> None:
    earlier = b'an earlier result'
    for path in sorted(disk.rglob('*'), reverse=True):
        path.rmdir() if path.is_dir() else path.unlink()
    target = disk / 'out'
    target.mkdir(parents=True)
    command = tool.words(target)
    for word in command:
        # the file that a tool is told to replace
        if isinstance(word, Path) and word.parent == target and word.suffix:
            word.write_bytes(earlier)
    if command[0] in ('export', 'publish_weights'):
        command.append('--force')
    if command[0] == 'enhance':
        command.append('--overwrite')
    if not is_limit:
        _fill(disk, free)
    result = run(*command, cwd=world.folder(tool.task), prepare=limit_files(free) if is_limit else None)
    _judge(f'{tool.name}, {free} bytes free', result, target, job)


def _read_only(world: World, tool: Tool, disk: Path, job: Job) -> None:
    target = disk / 'out'
    target.mkdir(exist_ok=True)
    subprocess.run(['mount', '-o', 'remount,ro', disk], check=True)
    try:
        result = run(*tool.words(target), cwd=world.folder(tool.task))
    finally:
        subprocess.run(['mount', '-o', 'remount,rw', disk], check=True)
    outcome = result.outcome
    if outcome == 'right' and tool.name != 'report':
        outcome = 'silent'
    job.add(f'{tool.name}, read-only', outcome, str(result))


def _judge(name: str, result: Result, target: Path, job: Job) -> None:
    """A full disk is named, or everything was written; nothing half is left."""
    outcome, detail = result.outcome, str(result)
    left = [path for path in target.rglob('*') if is_draft(path)]
    empty = [
        path for path in target.rglob('*.*') if path.is_file() and not path.stat().st_size and path.suffix != '.log'
    ]
    if outcome in ('right', 'clear error') and left:
        outcome, detail = 'silent', f'{left[0].name} was left; {result}'
    elif outcome in ('right', 'clear error') and empty:
        outcome, detail = 'silent', f'{empty[0].name} is empty; {result}'
    elif outcome == 'clear error' and not any(word in result.output for word in ('MB left', 'No space', 'too large')):
        # report has nothing to read there
        outcome = outcome if name.startswith('report') else 'silent'
    job.add(name, outcome, detail)


@contextmanager
def small_disk(place: Path) -> Iterator[Path | None]:
    """A file system of 8 MB; None where none can be mounted."""
    disk = place / 'disk'
    disk.mkdir()
    mount = ['mount', '-t', 'tmpfs', '-o', f'size={ROOM}', 'tmpfs', disk]
    try:
        mounted = os.geteuid() == 0 and subprocess.run(mount, capture_output=True, check=False).returncode == 0
    except FileNotFoundError:
        mounted = False
    try:
        yield disk if mounted else None
    finally:
        if mounted:
            subprocess.run(['umount', '-l', disk], check=True)


def _fill(disk: Path, free: int) -> None:
    """Leave so many bytes free, to a page."""
    with (disk / 'filler').open('wb', buffering=0) as file:
        try:
            while file.write(b'\0' * 4096):
                pass
        except OSError:
            pass
        if free:
            file.truncate(max(file.tell() - free, 0))
