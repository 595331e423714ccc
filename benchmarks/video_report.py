"""How fast a video is enhanced, where the time goes, and how much it flickers: a table and JSON."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterable
from dataclasses import asdict, dataclass
from fractions import Fraction
from pathlib import Path
from tempfile import TemporaryDirectory

import cv2
import numpy as np
import torch

from saga_mm.analysis.subjects import check_size
from saga_mm.datasets.demo.photos import read_sample_photo
from saga_mm.display.progress import progress_meter
from saga_mm.errors import SagaError
from saga_mm.files import make_folder, write_file
from saga_mm.images.video_kind import VideoKind
from saga_mm.images.video_reader import VideoReader
from saga_mm.images.video_writer import VideoWriter
from saga_mm.models.enhancement import LowLightEnhancer
from saga_mm.models.enhancement.weight_files import load_weights
from saga_mm.tasks.device import find_device
from saga_mm.tasks.enhancement.video import VideoEnhancer

from .flicker import Flicker, measure_flicker, static_scene
from .machine import described, full_machine
from .model_tables import markdown

RATE = 25
STAGES = ('decode', 'enhance', 'encode')
# frames whose flicker is measured, and the longest side that they have, in pixels
FLICKER_FRAMES, FLICKER_SIDE = 16, 320
EXPLANATION = (
    'A static scene, a photograph with too little light and fresh noise in each frame, H.264 in and out. Seconds that '
    'the program waits for each stage; codecs work ahead in threads of their own where there are cores.'
)


@dataclass
class Speed:
    """Of the enhancement of a video, from file to file.

    Attributes:
        height: Rows of a frame.
        width: Columns of a frame.
        frames: How many there were.
        seconds: What decoding, enhancing and encoding took in all.
        processor_seconds: Of all threads of the program in that time, which other programs do not add to.
    """

    height: int
    width: int
    frames: int
    seconds: dict[str, float]
    processor_seconds: float

    @property
    def rate(self) -> float:
        """Frames a second, from file to file."""
        return self.frames / sum(self.seconds.values())


def report_video(
    size: tuple[int, int], count: int, weights: str, device: str | None, out: Path, threads: int | None = None
) -> tuple[Speed, Flicker]:
    """Measure, print a table, and write ``video.json`` and ``video.md``.

    Args:
        size: ``(H, W)`` of the frames.
        count: Frames to time.
        weights: A name of weights that come with the package, or a file.
        device: Where to run; None for a GPU if there is one.
        out: Folder of what is written.
        threads: Of the CPU; None for PyTorch's own choice.

    Raises:
        SagaError: Something in the input is wrong.
    """
    check_size(size)
    if count < 2:
        raise SagaError(f'--repeats {count}: frames of a video; must be at least 2')
    if threads:
        torch.set_num_threads(threads)
    place = find_device(device)
    model = load_weights(weights).to(place)
    folder, about = make_folder(out), full_machine()
    small = (max(1, round(side * min(1.0, FLICKER_SIDE / max(size)))) for side in size)
    still = list(static_scene(photograph(*small), FLICKER_FRAMES))
    with (
        progress_meter(2 * count + 2 * len(still), 'measuring', unit=' frames') as show,
        TemporaryDirectory() as scratch,
    ):
        done = 0

        def tell() -> None:
            nonlocal done
            done += 1
            show(done)

        clip = write_clip(Path(scratch) / 'dark.mp4', size, static_scene(photograph(*size), count), tell)
        speed = time_video(model, clip, Path(scratch) / 'bright.mp4', tell)
        flicker = measure_flicker(model, still, tell=tell)
    name = f'weights {weights}'
    written = {
        'machine': about,
        'model': name,
        'device': str(place),
        **asdict(speed),
        'frames_per_second': speed.rate,
        'flicker': flicker._asdict(),
    }
    write_file(folder / 'video.json', json.dumps(written, indent=2) + '\n')
    text = f'{EXPLANATION}\n\n{described(about)}\n\n{name}, {place}:\n\n{tables(speed, flicker)}\n'
    write_file(folder / 'video.md', text)
    print(f'{text}\nfigures: {folder / "video.json"}, table: {folder / "video.md"}')
    return speed, flicker


def photograph(height: int, width: int) -> np.ndarray:
    """A photograph that comes with scikit-image, at this size: ``(H, W, 3)`` uint8, RGB."""
    picture = read_sample_photo('coffee.png')[..., ::-1]
    return cv2.resize(picture, (width, height), interpolation=cv2.INTER_AREA)


def write_clip(
    path: Path, size: tuple[int, int], frames: Iterable[np.ndarray], tell: Callable[[], None] = lambda: None
) -> Path:
    """Write frames ``(*size, 3)`` uint8, RGB as a video; ``tell`` is called after each."""
    with VideoWriter(path, VideoKind(*size, Fraction(RATE), Fraction(1, RATE))) as writer:
        for i, frame in enumerate(frames):
            writer.write(frame, i)
            tell()
    return path


def time_video(model: LowLightEnhancer, source: Path, target: Path, tell: Callable[[], None] = lambda: None) -> Speed:
    """Enhance a video into a file by the clock; the model has seen a frame before.

    Args:
        model: The model, in evaluation mode.
        source: The video.
        target: The file to write.
        tell: Called after each frame.
    """
    with VideoReader(source) as reader:
        VideoEnhancer(model)(next(reader.read()).pixels)
    seconds = dict.fromkeys(STAGES, 0.0)
    last, worked = time.perf_counter(), time.process_time()

    def stop(stage: str) -> None:
        nonlocal last
        now = time.perf_counter()
        seconds[stage] += now - last
        last = now

    enhance, count = VideoEnhancer(model), 0
    with VideoReader(source) as reader:
        with VideoWriter(target, reader.kind) as writer:
            for frame in reader.read():
                stop('decode')
                answer = enhance(frame.pixels)
                stop('enhance')
                writer.write(answer, frame.time)
                stop('encode')
                count += 1
                tell()
        stop('encode')
        return Speed(reader.kind.height, reader.kind.width, count, seconds, time.process_time() - worked)


def tables(speed: Speed, flicker: Flicker) -> str:
    """Speed and flicker in Markdown."""
    whole = sum(speed.seconds.values())
    title = f'{speed.width} x {speed.height}, {speed.frames} frames'
    lines = [(name, f'{taken / speed.frames:.4f}', f'{taken / whole:.1%}') for name, taken in speed.seconds.items()]
    lines.append(('all', f'{whole / speed.frames:.4f}', f'{speed.rate:.2f} frames a second'))
    lines.append(('processor, all threads', f'{speed.processor_seconds / speed.frames:.4f}', ''))
    levels = [f'{level:.4f}' for level in flicker]
    ratio = f'{flicker.carried / flicker.alone:.3f}' if flicker.alone else '-'
    return '\n\n'.join(
        (
            markdown((title, 'seconds a frame', 'share'), lines),
            'Flicker: mean change of the mean luminance from frame to frame, in grey levels of 255.',
            markdown(('source', 'frame by frame', 'carried', 'carried / frame by frame'), [(*levels, ratio)]),
        )
    )
