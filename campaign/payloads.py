"""Files that would run a command, given to every tool that reads a file of their kind."""

from __future__ import annotations

import os
import pickle
import shutil
import zipfile
from collections.abc import Generator, Iterator
from pathlib import Path
from random import Random

import numpy as np
import torch

from campaign.process import Result, Running, start, together
from campaign.tally import Job, Tally
from campaign.world import CONFIGS, TASKS, World
from saga_mm.loading.checkpoint import load_checkpoint

COUNT = 130
NAME = 'payloads'


class Payload:
    """Pickles as a call that makes a file.

    Args:
        way: ``'os.system'``, ``'eval'`` or another of :data:`WAYS`.
        target: The file.
    """

    def __init__(self, way: str, target: Path) -> None:
        self.way, self.target = way, target

    def __reduce__(self) -> tuple:
        return {
            'os.system': (os.system, (f'touch {self.target}',)),
            'eval': (eval, (f"__import__('pathlib').Path({str(self.target)!r}).touch()",)),
            'exec': (exec, (f'open({str(self.target)!r}, "w").close()',)),
            'open': (open, (str(self.target), 'w')),
            'touch': (Path.touch, (Path(self.target),)),
            'mknod': (os.mknod, (str(self.target),)),
            'torch.load': (torch.load, (str(self.target) + '.inner', None)),
        }[self.way]


WAYS = ('os.system', 'eval', 'exec', 'open', 'touch', 'mknod')
# a program in PostScript that makes a file where Ghostscript runs it without care, and that never ends where with
POSTSCRIPT = '%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 64 64\n({target}) (w) file closefile\n{{ }} loop\n'


def attack(world: World, place: Path, tally: Tally, drawn: Random, count: int) -> None:
    """Give each payload to each tool; none may run, whatever the tool says."""
    target, cases = place / 'touched', []
    for way in WAYS:
        folder = place / way
        folder.mkdir()
        cases += [(f'{way} in {name}', task, words) for name, task, words in _cases(world, folder, way, target)]
    cases += [(name, task, words) for name, task, words in _programs(world, place, target)]
    drawn.shuffle(cases)
    # every tool once before any twice
    cases.sort(key=lambda case: case[0].rpartition(' ')[0].count('again'))
    cases = cases[:count]
    together(job.closing(_case(world, job, *cases[job.number], target)) for job in tally.jobs(NAME, len(cases)))


def _case(
    world: World, job: Job, name: str, task: str, words: list[object], target: Path
) -> Generator[Running, Result, None]:
    result = yield start(*words, cwd=world.folder(task))
    outcome, detail = result.outcome, str(result)
    if target.exists():
        # of this case, or of the one that ran beside it
        outcome, detail = 'silent', f'THE PAYLOAD RAN: {result}'
    job.add(name, outcome, detail)


def _cases(world: World, folder: Path, way: str, target: Path) -> Iterator[tuple[str, str, list[object]]]:
    """Pickles where tools expect checkpoints and weights."""
    payload = Payload(way, target)
    raw = folder / 'raw.pth'
    raw.write_bytes(pickle.dumps({'state_dict': payload}, protocol=2))
    npz = folder / 'weights.npz'
    shutil.copy(world.weights, npz)
    with zipfile.ZipFile(npz, 'a') as archive, archive.open('extra.npy', 'w') as file:
        np.lib.format.write_array(file, np.array([payload], object), allow_pickle=True)
    yield 'weights', 'lowlight', ['enhance', world.pictures, '-o', folder / 'e', '--weights', npz]
    yield 'weights of an export', 'lowlight', ['export', npz, '--out', folder / 'x.onnx']
    yield 'raw for enhance', 'lowlight', ['enhance', world.pictures, '-o', folder / 'e', '--weights', raw]
    for task in TASKS:
        config, images = CONFIGS[task], world.images(task)
        for kind in ('added', 'raw'):
            file = raw
            if kind == 'added':
                file = folder / f'{task}_9.pth'
                torch.save({**load_checkpoint(world.checkpoint(task)), 'extra': payload}, file)
            work = folder / f'{task}-{kind}'
            short = ['--cfg-options', 'train_cfg.max_iters=4' if task == 'lowlight' else 'train_cfg.max_epochs=2']
            yield f'{kind} for test', task, ['test', config, file, '--work-dir', work]
            yield f'{kind} for resume', task, ['train', config, '--work-dir', work, '--resume', file, *short]
            yield f'{kind} for load_from', task, ['train', config, '--work-dir', work, *short, f'load_from={file}']
            if task == 'lowlight':
                yield f'{kind} for publish', task, ['publish_weights', config, file, folder / f'{kind}.npz']
            else:
                yield f'{kind} for predict', task, ['predict', config, file, images, '--out', work]
                yield f'{kind} for gates', task, ['visualize_gates', config, file, next(images.iterdir())]
                yield f'{kind} for rank', task, ['analyze_rank', config, file, images, '--size', 64, 64]
            yield f'{kind} for export', task, ['export', config, file, '--out', folder / f'{task}-{kind}.onnx']
        yield 'raw for convert', task, ['convert_checkpoint', raw, folder / 'converted.pth', '--force']


def _programs(world: World, place: Path, target: Path) -> Iterator[tuple[str, str, list[object]]]:
    """PostScript where tools expect pictures, and names that a shell would run."""
    folder = place / 'pictures'
    folder.mkdir()
    for name in ('photo.png', 'photo.jpg', 'photo.eps', f'$(touch {target.name}).png', '`touch touched`.png'):
        try:
            (folder / name).write_text(POSTSCRIPT.format(target=target))
        except OSError:
            continue
    shutil.copy(world.pictures / 'plain.png', folder / "a'; touch touched;'.png")
    segmentation = [CONFIGS['segmentation'], world.checkpoint('segmentation')]
    picture = folder / 'photo.png'
    yield 'PostScript for enhance', 'lowlight', ['enhance', folder, '-o', place / 'e', '--weights', world.weights]
    yield 'PostScript for predict', 'segmentation', ['predict', *segmentation, folder, '--out', place / 'p']
    yield 'PostScript for gates', 'segmentation', ['visualize_gates', *segmentation, picture]
    yield 'PostScript for rank', 'segmentation', ['analyze_rank', *segmentation, picture, '--size', 64, 64]
    for task, images in zip(TASKS, ('images/val', 'images/val', 'val', 'val')):
        data = place / f'{task}-data'
        shutil.copytree(world.folder(task) / 'data/tiny', data)
        found = [path for path in (data / images).rglob('*.*') if path.is_file()]
        found[0].write_text(POSTSCRIPT.format(target=target))
        parts = dict.fromkeys(('train', 'val', 'test'), data)
        if task == 'classification':
            parts = {'train': data / 'train', 'val': data / 'val', 'test': data / 'val'}
        root = ['--cfg-options', *(f'{part}_dataloader.dataset.data_root={at}' for part, at in parts.items())]
        root += ['demo_data=None']
        yield (
            f'PostScript for check_dataset {task}',
            task,
            ['check_dataset', CONFIGS[task], '--out', place / 'c', *root],
        )
        words = ['test', CONFIGS[task], world.checkpoint(task), '--work-dir', place / 't', *root]
        yield f'PostScript for test {task}', task, words
