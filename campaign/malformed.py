"""Bit flips and cuts of every kind of file that a tool reads.

Right is what is refused with a clear line, and what is read with the result of the whole file. A flip may change the
result where the format has no checksum (JPEG, BMP, videos, ONNX): nobody can tell. A cut may not, in any format.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Generator, Iterator
from pathlib import Path
from random import Random
from typing import NamedTuple

import numpy as np
from PIL import Image

from campaign.process import Result, Running, start, together
from campaign.tally import Job, Tally
from campaign.world import CONFIGS, World, require
from saga_mm.errors import SagaError
from saga_mm.images.photo import read_photo

COUNT = 1000
NAME = 'malformed'
# the share of each kind of file
SHARES = {
    'enhance': 0.26,
    'predict': 0.24,
    'mask': 0.06,
    'annotations': 0.09,
    'checkpoint': 0.11,
    'weights': 0.06,
    'onnx': 0.04,
    'video': 0.04,
    'log': 0.02,
    'classes': 0.02,
    'class folder': 0.03,
    'model folder': 0.03,
}
BATCH = 28
PICTURE_TOOLS = ('enhance', 'predict')
# formats whose parts have checksums
CHECKED = ('.png', '.pth', '.npz')


class Change(NamedTuple):
    """What is done to a file.

    Attributes:
        kind: ``'flip'`` or ``'cut'``.
        place: The bit, or the length that is left.
    """

    kind: str
    place: int

    def of(self, content: bytes) -> bytes:
        """The changed content."""
        if self.kind == 'cut':
            return content[: self.place]
        changed = bytearray(content)
        changed[self.place // 8] ^= 1 << self.place % 8
        return bytes(changed)

    def __str__(self) -> str:
        return f'bit {self.place} flipped' if self.kind == 'flip' else f'cut to {self.place} bytes'


def draw_change(drawn: Random, size: int) -> Change:
    """A cut in one case of three; of the flips, half in the first bytes, where the structure is."""
    if drawn.random() < 1 / 3:
        return Change('cut', drawn.randrange(size))
    most = size if drawn.random() < 0.5 else min(size, 256)
    return Change('flip', drawn.randrange(8 * most))


def attack(world: World, place: Path, tally: Tally, drawn: Random, count: int) -> None:
    """Change files of every kind, and give them to the tools that read them."""
    numbers = {kind: max(round(share * count), 1) for kind, share in SHARES.items()}
    together(_jobs(world, place, tally, numbers))


def _jobs(
    world: World, place: Path, tally: Tally, numbers: dict[str, int]
) -> Iterator[Generator[Running, Result, None]]:
    """A batch of pictures, or another file, a job."""
    planned = [(tool, first) for tool in PICTURE_TOOLS for first in range(0, numbers[tool], BATCH)]
    planned += [(kind, number) for kind in KINDS for number in range(numbers[kind])]
    wholes: dict[str, dict[str, np.ndarray]] = {}
    for job in tally.jobs(NAME, len(planned)):
        kind, first = planned[job.number]
        if kind in PICTURE_TOOLS:
            if kind not in wholes:
                wholes[kind] = _wholes(world, place / kind, kind)
            batch = range(first, min(first + BATCH, numbers[kind]))
            yield job.closing(_pictures(world, place / kind / f'batch-{first}', kind, batch, wholes[kind], job))
        else:
            (place / kind).mkdir(exist_ok=True)
            yield job.closing(KINDS[kind](world, place / kind / str(first), job))


def _wholes(world: World, place: Path, tool: str) -> dict[str, np.ndarray]:
    """The answers for whole pictures."""
    place.mkdir()
    require(_start_on(world, tool, world.pictures, place / 'whole').wait())
    return {source.name: _answer(tool, place / 'whole', source.name) for source in _sources(world)}


def _sources(world: World) -> list[Path]:
    return sorted(path for path in world.pictures.iterdir() if path.is_file())


def _pictures(
    world: World,
    place: Path,
    tool: str,
    batch: range,
    whole: dict[str, np.ndarray],
    job: Job,
) -> Generator[Running, Result, None]:
    """A folder of changed pictures; where the tool does not survive them, each by itself."""
    given, changes = place / 'given', {}
    given.mkdir(parents=True)
    sources = _sources(world)
    for number in batch:
        source = sources[number % len(sources)]
        content = source.read_bytes()
        name = f'{number}_{source.name}'
        changes[name] = source, draw_change(job.drawn, len(content))
        (given / name).write_bytes(changes[name][1].of(content))
    result = yield _start_on(world, tool, given, place / 'out')
    bad = result.outcome not in ('right', 'clear error')
    for name, (source, change) in changes.items():
        out = place / 'out'
        if bad:
            alone = place / name
            alone.mkdir()
            shutil.copy(given / name, alone)
            out = alone / 'out'
            result = yield _start_on(world, tool, alone / name, out)
        outcome, detail = _judge_picture(tool, result, out, name, whole[source.name], change)
        job.add(f'{tool} {source.name}, {change}', outcome, detail and f'{given / name}: {detail}')


def _start_on(world: World, tool: str, source: Path, out: Path) -> Running:
    if tool == 'enhance':
        words = ['enhance', source, '-o', f'{out}/' if source.is_dir() else out / source.name]
        return start(*words, '--weights', world.weights, '--overwrite', cwd=world.root)
    words = ['predict', CONFIGS['segmentation'], world.checkpoint('segmentation'), source, '--out', out]
    return start(*words, cwd=world.root)


def _judge_picture(
    tool: str, result: Result, out: Path, name: str, whole: np.ndarray, change: Change
) -> tuple[str, str]:
    if result.outcome not in ('right', 'clear error'):
        return result.outcome, str(result)
    try:
        answer = _answer(tool, out, name)
    except (OSError, SagaError, KeyError):
        return ('clear error', '') if name in result.output else ('silent', 'neither done nor named')
    if answer.shape == whole.shape and np.array_equal(answer, whole):
        return 'right', ''
    if change.kind == 'flip' and Path(name).suffix not in CHECKED:
        return 'right', ''
    named = any(name in line and 'done ' not in line for line in result.output.splitlines())
    return ('clear error', '') if named else ('silent', 'done, with another result')


def _answer(tool: str, out: Path, name: str) -> np.ndarray:
    """The pixels that a tool made of a picture.

    Raises:
        OSError: There is no such file.
        KeyError: The picture is not among those that are done.
    """
    if tool == 'enhance':
        return read_photo(next(iter(sorted(out.glob(f'{Path(name).stem}.*'))), out / name)).pixels
    entries = json.loads((out / 'predictions.json').read_text())['images']
    entry = {entry['file']: entry for entry in entries}[name]
    return np.asarray(Image.open(out / entry['drawn']).convert('RGB'))


def _changed(source: Path, target: Path, drawn: Random) -> Change:
    """A changed copy of a file."""
    content = source.read_bytes()
    change = draw_change(drawn, len(content))
    target.parent.mkdir(parents=True, exist_ok=True)
    target.write_bytes(change.of(content))
    return change


def _mask(world: World, place: Path, job: Job) -> Generator[Running, Result, None]:
    data = place / 'data'
    shutil.copytree(world.folder('segmentation') / 'data/tiny', data)
    masks = sorted(path for path in data.rglob('*.png') if 'images' not in path.parts)
    mask = job.drawn.choice(masks)
    whole = np.asarray(Image.open(mask))
    change = _changed(mask, mask, job.drawn)
    result = yield _check(world, 'segmentation', place, data)
    outcome, detail = result.outcome, str(result)
    if outcome == 'right':
        try:
            same = np.array_equal(np.asarray(Image.open(mask)), whole)
        except (OSError, SyntaxError, ValueError):
            same = False
        outcome = 'right' if same else 'silent'
    job.add(f'mask, {change}', outcome, f'{mask}: {detail}')


def _annotations(world: World, place: Path, job: Job) -> Generator[Running, Result, None]:
    data = place / 'data'
    shutil.copytree(world.folder('detection') / 'data/tiny', data)
    file = data / 'annotations/instances_train.json'
    change = _changed(file, file, job.drawn)
    result = yield _check(world, 'detection', place, data)
    job.add(f'annotations, {change}', *_judge(result, change))


def _check(world: World, task: str, place: Path, data: Path) -> Running:
    parts = [f'{part}_dataloader.dataset.data_root={data}/' for part in ('train', 'val', 'test')]
    words = ['--work-dir', place / 'work', '--max-pictures', 0, '--cfg-options', *parts, 'demo_data=None']
    return start('check_dataset', CONFIGS[task], *words, cwd=world.folder(task))


def _judge(result: Result, change: Change) -> tuple[str, str]:
    """A cut must be met; a flip may be a valid file of other content."""
    if result.outcome == 'right' and change.kind == 'cut':
        return 'silent', str(result)
    return result.outcome, str(result)


def _checkpoint(world: World, place: Path, job: Job) -> Generator[Running, Result, None]:
    file, out = place / 'iter_4.pth', place / 'out.npz'
    change = _changed(world.checkpoint('lowlight'), file, job.drawn)
    if job.drawn.random() < 0.7:
        result = yield start('publish_weights', CONFIGS['lowlight'], file, out, cwd=world.root)
        outcome, detail = result.outcome, str(result)
        if outcome == 'right' and not _same_arrays(out, world.weights):
            outcome, detail = 'silent', f'other weights: {detail}'
    else:
        words = ['--resume', file, '--work-dir', place / 'work']
        result = yield start('train', CONFIGS['lowlight'], *words, cwd=world.folder('lowlight'))
        outcome, detail = result.outcome, str(result)
    job.add(f'checkpoint, {change}', outcome, f'{file}: {detail}')


def _same_arrays(first: Path, second: Path) -> bool:
    with np.load(first) as a, np.load(second) as b:
        return set(a.files) == set(b.files) and all(
            np.array_equal(a[n], b[n]) for n in a.files if a[n].dtype.kind == 'f'
        )


def _weights(world: World, place: Path, job: Job) -> Generator[Running, Result, None]:
    yield from _of_enhancer(world, place, job, world.weights)


def _onnx(world: World, place: Path, job: Job) -> Generator[Running, Result, None]:
    yield from _of_enhancer(world, place, job, world.exported)


def _of_enhancer(world: World, place: Path, job: Job, source: Path) -> Generator[Running, Result, None]:
    file, picture = place / source.name, world.pictures / 'plain.png'
    change = _changed(source, file, job.drawn)
    result = yield start('enhance', picture, '-o', place / 'out.png', '--weights', file, cwd=world.root)
    outcome, detail = result.outcome, str(result)
    if outcome == 'right' and (change.kind == 'cut' or source.suffix in CHECKED):
        whole = place.with_name('whole.png')
        if not whole.exists():
            yield start('enhance', picture, '-o', whole, '--weights', source, cwd=world.root)
        if not np.array_equal(read_photo(place / 'out.png').pixels, read_photo(whole).pixels):
            outcome, detail = 'silent', f'another result: {detail}'
    job.add(f'{source.suffix}, {change}', outcome, f'{file}: {detail}')


def _video(world: World, place: Path, job: Job) -> Generator[Running, Result, None]:
    file = place / 'clip.mp4'
    change = _changed(world.clip, file, job.drawn)
    result = yield start('enhance', file, '-o', place / 'out.mp4', '--weights', world.weights, cwd=world.root)
    outcome, detail = _judge(result, change)
    if outcome == 'silent' and 'ends early' in result.output:
        outcome = 'clear error'
    job.add(f'video, {change}', outcome, f'{file}: {detail}')


def _log(world: World, place: Path, job: Job) -> Generator[Running, Result, None]:
    work = place / 'work'
    shutil.copytree(world.work('lowlight'), work, ignore=shutil.ignore_patterns('*.pth'))
    log = next(work.glob('*/vis_data/scalars.json'))
    change = _changed(log, log, job.drawn)
    result = yield start('report', work, cwd=place)
    job.add(f'log, {change}', result.outcome, f'{log}: {result}')


def _classes(world: World, place: Path, job: Job) -> Generator[Running, Result, None]:
    file, data = place / 'classes.txt', world.folder('segmentation') / 'data/tiny'
    place.mkdir()
    names = place / 'whole.txt'
    names.write_text('background\ndisc\nsquare\ntriangle\nstar\ncross\n')
    change = _changed(names, file, job.drawn)
    masks = next(path for path in sorted(data.rglob('train')) if 'images' not in path.parts)
    words = ['--data-root', data, '--train-img', 'images/train', '--train-mask', masks, '--classes', file]
    words += ['--val-img', 'images/train', '--val-mask', masks, '--work-dir', place / 'work', '--max-pictures', 0]
    result = yield start('check_dataset', CONFIGS['segmentation'], *words, cwd=world.root)
    job.add(f'classes, {change}', result.outcome, f'{file}: {result}')


def _class_folder(world: World, place: Path, job: Job) -> Generator[Running, Result, None]:
    """A picture of a classification, or the list of them."""
    data = place / 'data'
    shutil.copytree(world.folder('classification') / 'data/tiny', data)
    pictures = sorted((data / 'train').rglob('*.png'))
    words = ['--train-img', data / 'train', '--val-img', data / 'val', '--work-dir', place / 'work']
    file = job.drawn.choice(pictures)
    if job.drawn.random() < 0.5:
        file = data / 'list.txt'
        file.write_text(''.join(f'{path.relative_to(data / "train")} {path.parent.name}\n' for path in pictures))
        words += ['--train-list', file]
    change = _changed(file, file, job.drawn)
    words += ['--max-pictures', 0]
    result = yield start('check_dataset', CONFIGS['classification'], *words, cwd=world.folder('classification'))
    outcome, detail = result.outcome, str(result)
    if outcome == 'right' and file.suffix == '.png':
        outcome = 'silent'
    # a list that is cut between two lines is a list
    job.add(f'class folder {file.suffix}, {change}', outcome, f'{file}: {detail}')


def _model_folder(world: World, place: Path, job: Job) -> Generator[Running, Result, None]:
    """What ``saga_mm.load`` reads: a flip in the numbers may be one of the numbers, and nobody can tell."""
    whole = world.model_folder
    shutil.copytree(whole, place)
    file = place / job.drawn.choice(('config.json', 'model.safetensors'))
    change = _changed(file, file, job.drawn)
    result = yield start('../campaign/load_folder', place, cwd=world.root)
    outcome, detail = result.outcome, str(result)
    if outcome == 'right' and (change.kind == 'cut' or file.suffix == '.json'):
        other = yield start('../campaign/load_folder', whole, cwd=world.root)
        if other.last != result.last:
            outcome = 'silent'
    job.add(f'{file.name}, {change}', outcome, f'{file}: {detail}')


KINDS = {
    'mask': _mask,
    'annotations': _annotations,
    'checkpoint': _checkpoint,
    'weights': _weights,
    'onnx': _onnx,
    'video': _video,
    'log': _log,
    'classes': _classes,
    'class folder': _class_folder,
    'model folder': _model_folder,
}
