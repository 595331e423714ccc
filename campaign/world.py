"""The files that are attacked: small trainings of every task, weights, exports, pictures, clips, data."""

from __future__ import annotations

import io
import json
import shutil
from pathlib import Path

import numpy as np
from PIL import Image

import saga_mm
from campaign.process import ROOT, Result, run
from saga_mm.errors import SagaError

TASKS = ('detection', 'segmentation', 'lowlight', 'classification')
# of which predict.py draws, and of which a config makes its data
PREDICTED = ('detection', 'segmentation', 'classification')
WITH_DEMO_DATA = TASKS[:3]
CONFIGS = {
    'detection': ROOT / 'tests/tiny.py',
    'segmentation': ROOT / 'tests/tiny_segmentation.py',
    'lowlight': ROOT / 'tests/tiny_lowlight.py',
    'classification': ROOT / 'campaign/tiny_classification.py',
}
# how Pillow writes each kind of picture
PICTURES = {
    'plain.jpg': ('JPEG', {'quality': 90}),
    'progressive.jpg': ('JPEG', {'quality': 90, 'progressive': True}),
    'plain.png': ('PNG', {}),
    'strips.tif': ('TIFF', {'compression': 'tiff_lzw'}),
    'raw.tif': ('TIFF', {}),
    'plain.bmp': ('BMP', {}),
    'plain.webp': ('WEBP', {'quality': 90}),
    'plain.avif': ('AVIF', {'quality': 90}),
    'plain.jp2': ('JPEG2000', {}),
    'plain.gif': ('GIF', {}),
    'plain.ppm': ('PPM', {}),
}
ORIENTATION = 0x0112


class World:
    """A folder with everything that the campaign attacks, made once.

    Args:
        root: The folder.
    """

    def __init__(self, root: Path) -> None:
        self.root = root
        self.pictures = root / 'pictures'
        self.weights, self.exported = root / 'tiny.npz', root / 'tiny.onnx'
        self.clip = root / 'clip.mp4'
        self.model_folder = root / 'backbone'

    def folder(self, task: str) -> Path:
        """Where a task was trained; its data lie in ``data/tiny``."""
        return self.root / task

    def work(self, task: str) -> Path:
        """The work folder of a task's training."""
        return self.folder(task) / 'work_dirs' / CONFIGS[task].stem

    def checkpoint(self, task: str) -> Path:
        """The newest checkpoint of a task that training can continue from."""
        files = [path for path in self.work(task).glob('*.pth') if not path.name.startswith('best_')]
        return max(files, key=lambda path: path.stat().st_mtime)

    def images(self, task: str) -> Path:
        """The pictures that a task was validated on."""
        return {
            'detection': self.folder(task) / 'data/tiny/images/val',
            'segmentation': self.folder(task) / 'data/tiny/images/val',
            'lowlight': self.pictures,
            'classification': self.folder(task) / 'data/tiny/val/b',
        }[task]

    def make(self) -> None:
        """Make what is missing.

        Raises:
            SagaError: A tool failed that is needed to make it.
        """
        self.pictures.mkdir(parents=True, exist_ok=True)
        _make_pictures(self.pictures)
        if not self.clip.exists():
            make_clip(self.clip)
        for task in TASKS:
            if not self.folder(task).exists():
                made = self.root / f'{task}-making'
                shutil.rmtree(made, ignore_errors=True)
                made.mkdir()
                if task == 'classification':
                    _make_classes(made / 'data/tiny')
                require(run('train', CONFIGS[task], cwd=made, limit=600))
                made.rename(self.folder(task))
        if not self.model_folder.exists():
            saga_mm.save(saga_mm.create_backbone('saga_pvt_v2_b0'), self.model_folder)
        lowlight = [CONFIGS['lowlight'], self.checkpoint('lowlight')]
        if not self.weights.exists():
            require(run('publish_weights', *lowlight, self.weights, cwd=self.folder('lowlight'), limit=600))
        if not self.exported.exists():
            require(run('export', self.weights, '--out', self.exported, cwd=self.folder('lowlight'), limit=600))

    def copy_data(self, task: str, folder: Path) -> Path:
        """A folder for a training of its own, with a task's data in it."""
        shutil.copytree(self.folder(task) / 'data', folder / 'data')
        return folder


def photograph(height: int, width: int, seed: int = 0) -> np.ndarray:
    """A dark picture ``(H, W, 3)`` uint8 with edges, ramps and some noise."""
    drawn = np.random.default_rng(seed)
    rows, columns = np.mgrid[0:height, 0:width]
    base = np.stack([rows * 60 / height, columns * 60 / width, (rows // 16 + columns // 16) % 2 * 40], axis=2)
    return (base + drawn.integers(0, 12, base.shape)).astype(np.uint8)


def _make_pictures(folder: Path) -> None:
    pixels = photograph(61, 83)
    image = Image.fromarray(pixels)
    for name, (kind, options) in PICTURES.items():
        _save(image, folder / name, kind, **options)
    exif = Image.Exif()
    exif[ORIENTATION] = 6
    _save(image, folder / 'turned.jpg', 'JPEG', exif=exif)
    _save(image.convert('L'), folder / 'grey.png', 'PNG')
    _save(Image.fromarray(pixels[..., 0].astype(np.uint16) * 257), folder / 'deep.png', 'PNG')
    _save(Image.fromarray(pixels[..., 0].astype(np.uint16) * 257), folder / 'deep.tif', 'TIFF')
    _save(Image.fromarray(np.dstack([pixels, 255 - pixels[..., :1]])), folder / 'clear.png', 'PNG')
    _save(image.quantize(32), folder / 'palette.png', 'PNG')


def _make_classes(root: Path) -> None:
    for part, count in (('train', 3), ('val', 2)):
        for number, name in enumerate('abc'):
            folder = root / part / name
            folder.mkdir(parents=True)
            for index in range(count):
                pixels = np.roll(photograph(40, 52, 10 * number + index), 60 * number, axis=1)
                _save(Image.fromarray(pixels), folder / f'{index}.png', 'PNG')


def _save(image: Image.Image, path: Path, kind: str, **options: object) -> None:
    content = io.BytesIO()
    image.save(content, kind, **options)
    path.write_bytes(content.getvalue())


def make_clip(path: Path, frames: int = 6, height: int = 64, width: int = 96) -> None:
    """A short clip in H.264."""
    import av

    with av.open(str(path), 'w') as file:
        stream = file.add_stream('libx264', rate=10)
        stream.width, stream.height, stream.pix_fmt = width, height, 'yuv420p'
        for number in range(frames):
            frame = av.VideoFrame.from_ndarray(photograph(height, width, number), format='rgb24')
            file.mux(stream.encode(frame))
        file.mux(stream.encode())


def annotations(folder: Path) -> dict[str, object]:
    """The annotations of a detection task's validation pictures."""
    return json.loads((folder / 'data/tiny/annotations/instances_val.json').read_text())


def require(result: Result) -> None:
    """Have a tool done what the campaign needs.

    Raises:
        SagaError: It has not.
    """
    if result.outcome != 'right':
        raise SagaError(f'{result}\n{result.output[-2000:]}')
