"""Promises of ``--max-memory`` beside the most memory that a tool held, from file to file (VmHWM; Linux alone).

Tools start as a user starts them, because a forked process begins with the memory of what it was forked from.
"""

from __future__ import annotations

import itertools
import os
import re
import sys
from collections.abc import Generator, Iterator
from pathlib import Path
from random import Random
from typing import NamedTuple

import av
import numpy as np
from PIL import Image

from campaign.process import ROOT, Result, Running, start, together
from campaign.tally import Job, Tally
from campaign.world import CONFIGS, ORIENTATION, World, photograph

COUNT = 48
NAME = 'memory'
# seconds that a start, a megapixel and a frame of a video may take, on a machine that does nothing else
START, MEGAPIXEL, FRAME = 120, 40, 10
# longest side and megabytes beyond what the tool itself takes: strips of the largest take some twenty seconds
SIDES = (900, 1600, 2400, 3200)
ROOM = (40, 1200)
# longest side and frames of a clip, whose strips are slower
CLIPS, FRAMES = (480, 960, 1920), 6
# what the tools take before they open a picture, about
BASE = {'enhance': 330, 'predict': 560}
EXIF = {'exif': 6}
FORMATS: dict[str, tuple[str, dict[str, object], bool]] = {
    # ending, options of Pillow, whether 16 bits
    'JPEG': ('.jpg', {'quality': 90}, False),
    'progressive JPEG': ('.jpg', {'quality': 90, 'progressive': True}, False),
    'turned JPEG': ('.jpg', {'quality': 90, **EXIF}, False),
    'PNG': ('.png', {'compress_level': 1}, False),
    'PNG of 16 bits': ('.png', {'compress_level': 1}, True),
    'striped TIFF': ('.tif', {'compression': 'tiff_lzw'}, False),
    'raw TIFF': ('.tif', {}, False),
    'TIFF of 16 bits': ('.tif', {}, True),
    'tiled TIFF': ('.tif', {'tiled': True}, False),
    'BMP': ('.bmp', {}, False),
    'WebP': ('.webp', {'quality': 80, 'method': 0}, False),
    'AVIF': ('.avif', {'quality': 60, 'speed': 10}, False),
    'JPEG 2000': ('.jp2', {}, False),
    'GIF': ('.gif', {}, False),
    'PPM': ('.ppm', {}, False),
}
VIDEOS = {'H.264': ('.mp4', 'libx264', 'yuv420p'), 'HEVC of 10 bits': ('.mov', 'libx265', 'yuv420p10le')}
# ways to run each tool, each with every format before the next
WAYS: dict[str, tuple[tuple[str, ...], ...]] = {
    'enhance': ((), ('--compare',), ('--denoise', '0', '--compare')),
    'predict': ((), ('resized',), ('resized', '--own-size')),
}
ENGINES = ('torch', 'auto')


class Case(NamedTuple):
    """One run within a limit.

    Attributes:
        tool: ``'enhance'`` or ``'predict'``.
        kind: A key of :data:`FORMATS` or :data:`VIDEOS`.
        side: Longest side.
        limit: Megabytes that are allowed.
        engine: Where the model runs.
        words: More of the command line.
    """

    tool: str
    kind: str
    side: int
    limit: int
    engine: str = 'torch'
    words: tuple[str, ...] = ()

    @property
    def ending(self) -> str:
        """The ending of its file."""
        return (VIDEOS if self.kind in VIDEOS else FORMATS)[self.kind][0]

    @property
    def seconds(self) -> float:
        """After which it hangs."""
        megapixels = self.side * self.side * 3 / 4 / 1e6
        return START + (FRAMES * (FRAME + megapixels * FRAME) if self.kind in VIDEOS else MEGAPIXEL * megapixels)

    def __str__(self) -> str:
        more = ''.join(f' {word}' for word in self.words)
        return f'{self.tool}{more} {self.kind} {self.side} within {self.limit}MB on {self.engine}'


def attack(world: World, place: Path, tally: Tally, drawn: Random, count: int) -> None:
    """Run tools within limits that are drawn."""
    resized = place / 'resized.py'
    resized.write_text(RESIZED.format(base=str(CONFIGS['segmentation'])))
    cases = list(_draw(drawn, count))

    together(job.closing(_within(world, place, resized, job, cases[job.number])) for job in tally.jobs(NAME, count))


def _within(world: World, place: Path, resized: Path, job: Job, case: Case) -> Generator[Running, Result, None]:
    """A tool within a limit, and once more within what it names as enough."""
    picture = place / f'{job.number}{case.ending}'
    (write_clip if case.kind in VIDEOS else write_picture)(picture, case.kind, case.side)
    peak = place / f'{job.number}.peak'
    result = yield _start(world, place / f'out-{job.number}', picture, case, resized, peak)
    outcome, detail = _judge(case, result, peak)
    job.add(str(case), outcome, detail)
    smallest = re.search(r'the smallest that works is (\d+)MB', detail)
    if smallest and outcome == 'clear error':
        again = case._replace(limit=int(smallest[1]))
        result = yield _start(world, place / f'again-{job.number}', picture, again, resized, peak)
        outcome, detail = _judge(again, result, peak)
        job.add(str(again), outcome if outcome != 'clear error' else 'silent', detail)
    picture.unlink()


def _draw(drawn: Random, count: int) -> Iterator[Case]:
    """Every format with every tool in each of its ways, of sizes and limits that are drawn."""
    made = 0
    for turn in itertools.count():
        for kind in [*FORMATS, *VIDEOS]:
            for tool, ways in WAYS.items():
                if kind in VIDEOS and tool == 'predict':
                    continue
                if made == count:
                    return
                made += 1
                room = ROOM[0] * (ROOM[1] / ROOM[0]) ** drawn.random()
                side = drawn.choice(CLIPS if kind in VIDEOS else SIDES)
                yield Case(tool, kind, side, BASE[tool] + int(room), drawn.choice(ENGINES), ways[turn % len(ways)])


RESIZED = """_base_ = [{base!r}]
test_dataloader = dict(
    dataset=dict(
        pipeline=[
            dict(type='LoadImageFromFile'),
            dict(type='Resize', scale=(512, 512), keep_ratio=True),
            dict(type='LoadAnnotations'),
            dict(type='PackSegInputs'),
        ]
    )
)
"""


def write_picture(path: Path, kind: str, side: int) -> None:
    """A picture of a format, three quarters as high as it is wide."""
    _, options, deep = FORMATS[kind]
    height = 3 * side // 4
    tile = photograph(250, 250)
    pixels = np.tile(tile, (-(-height // 250), -(-side // 250), 1))[:height, :side]
    if options.get('tiled') or deep:
        _write_by_library(path, pixels.astype(np.uint16) * 257 if deep else pixels, bool(options.get('tiled')))
        return
    options = dict(options)
    if orientation := options.pop('exif', None):
        exif = Image.Exif()
        exif[ORIENTATION] = orientation
        options['exif'] = exif
    Image.fromarray(np.ascontiguousarray(pixels)).save(path, **options)


def write_clip(path: Path, kind: str, side: int) -> None:
    """A clip of a codec, three quarters as high as it is wide."""
    _, codec, pixels = VIDEOS[kind]
    with av.open(str(path), 'w') as file:
        stream = file.add_stream(codec, rate=10)
        stream.width, stream.height, stream.pix_fmt = side, side * 3 // 4, pixels
        stream.options = {'preset': 'ultrafast', 'x265-params': 'log-level=none'}
        for number in range(FRAMES):
            frame = av.VideoFrame.from_ndarray(photograph(side * 3 // 4, side, number), format='rgb24')
            file.mux(stream.encode(frame.reformat(format=pixels)))
        file.mux(stream.encode())


def _write_by_library(path: Path, pixels: np.ndarray, tiled: bool) -> None:
    import OpenImageIO

    height, width, channels = pixels.shape
    spec = OpenImageIO.ImageSpec(width, height, channels, str(pixels.dtype))
    if tiled:
        spec.tile_width = spec.tile_height = 256
    output = OpenImageIO.ImageOutput.create(str(path))
    output.open(str(path), spec)
    output.write_image(np.ascontiguousarray(pixels))
    output.close()


def _start(world: World, out: Path, picture: Path, case: Case, resized: Path, peak: Path) -> Running:
    """A tool in a program of its own, which writes the most memory that it held."""
    memory = ['--engine', case.engine, '--max-memory', f'{case.limit}MB']
    if case.tool == 'enhance':
        words = [picture, '-o', out / picture.name, '--weights', world.weights, *case.words]
    else:
        config = resized if 'resized' in case.words else CONFIGS['segmentation']
        more = [word for word in case.words if word != 'resized']
        words = [config, world.checkpoint('segmentation'), picture, '--out', out, *more]
    words = [str(word) for word in (*words, *memory)]
    command = [sys.executable, '-m', 'campaign.measured', str(peak), str(ROOT / 'tools' / f'{case.tool}.py'), *words]

    def become() -> None:
        os.execve(sys.executable, command, {**os.environ, 'PYTHONPATH': str(ROOT)})

    peak.unlink(missing_ok=True)
    running = start(case.tool, *words, cwd=world.root, prepare=become)
    running.limit = case.seconds
    return running


def _judge(case: Case, result: Result, peak: Path) -> tuple[str, str]:
    size = int(peak.read_text()) if peak.exists() else 0
    held = f'{size / 2**20:.0f}MB'
    if result.outcome not in ('right', 'clear error'):
        return result.outcome, str(result)
    if not size or size > case.limit * 2**20:
        return 'silent', f'held {held} ({result.outcome}): {result.last}'
    return result.outcome, f'{held}: {result.last}'
