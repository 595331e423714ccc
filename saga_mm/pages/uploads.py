"""Check pictures that visitors upload before they are decoded, and offer samples."""

from __future__ import annotations

from importlib.resources import files
from importlib.util import find_spec
from pathlib import Path

import cv2
import numpy as np

from saga_mm.datasets.demo.draw import draw_scene
from saga_mm.datasets.demo.photos import read_sample_photo
from saga_mm.errors import SagaError
from saga_mm.files import write_file
from saga_mm.images.kind import photo_size
from saga_mm.images.pictures import read_picture

MOST_PIXELS = 50_000_000
MOST_BYTES = 50 * 2**20
# of what is shown; files are written at full size
SHOWN_SIDE = 2048
NIGHT = files('saga_mm') / 'samples' / 'night.jpg'


def require_picture(path: str | None) -> tuple[int, int]:
    """Height and width of an uploaded picture, by its header.

    Raises:
        SagaError: There is none, it is no picture, or it is too large; the message does not name the server's folders.
    """
    if not path:
        raise SagaError('Choose a picture first')
    try:
        height, width = photo_size(path)
    except SagaError as error:
        raise SagaError(without_folder(error, path)) from error
    if height * width > MOST_PIXELS:
        raise SagaError(
            f'{Path(path).name}: has {width} x {height} pixels; this page takes up to {MOST_PIXELS // 10**6} megapixels'
        )
    return height, width


def read_upload(path: str | None) -> np.ndarray:
    """An uploaded picture, ``(H, W, 3)`` uint8 RGB, upright.

    Raises:
        SagaError: As :func:`require_picture`, or it is damaged.
    """
    require_picture(path)
    try:
        return read_picture(path)
    except SagaError as error:
        raise SagaError(without_folder(error, path)) from error


def without_folder(error: Exception, path: str | Path) -> str:
    """The message of an error with the name of the file in place of its path on the server."""
    return str(error).replace(str(path), Path(path).name)


def reduced(picture: np.ndarray, side: int = SHOWN_SIDE) -> np.ndarray:
    """A picture that is no longer than ``side``."""
    height, width = picture.shape[:2]
    factor = min(1, side / max(height, width))
    size = [max(1, round(length * factor)) for length in (width, height)]
    return picture if factor == 1 else cv2.resize(picture, size, interpolation=cv2.INTER_AREA)


def dark_sample() -> bytes | None:
    """A dark photograph to try, as a JPEG file: the package's, or else one of scikit-image's, made dark."""
    if NIGHT.is_file():
        return NIGHT.read_bytes()
    if find_spec('skimage') is None:
        return None
    photo = read_sample_photo('coffee.png')
    dark = (0.15 * photo + np.random.default_rng(0).normal(0, 2, photo.shape)).clip(0, 255).astype(np.uint8)
    return cv2.imencode('.jpg', dark, [cv2.IMWRITE_JPEG_QUALITY, 92])[1].tobytes()


def dark_samples(folder: Path) -> list[str]:
    """Dark photographs to try, as files."""
    content, path = dark_sample(), folder / 'night.jpg'
    if content is None:
        return []
    write_file(path, content)
    return [str(path)]


def shape_samples(folder: Path, count: int = 2) -> list[str]:
    """Pictures of the shapes that the demo recipes are trained on, drawn into files; none without scikit-image."""
    if find_spec('skimage') is None:
        return []
    photos = [read_sample_photo('coffee.png')]
    paths = [folder / f'shapes_{index + 1}.png' for index in range(count)]
    for index, path in enumerate(paths):
        scene = draw_scene(np.random.default_rng(index), photos, (320, 448))
        write_file(path, cv2.imencode('.png', scene.image)[1].tobytes())
    return list(map(str, paths))
