"""The demo data for low light: crops of the photographs that scikit-image ships, and dark versions of some."""

import importlib.util
import math
from functools import partial
from pathlib import Path

import cv2
import numpy as np

from saga_mm.datasets.low_light.darken import SynthesizeLowLight
from saga_mm.display.progress import progress_bar
from saga_mm.errors import SagaError
from saga_mm.images.pictures import open_picture

from .made_folder import make_once

# Raised whenever the same arguments would give other pixels, so that old data is made anew.
VERSION = 1
# All of them lie inside the scikit-image wheel, whose documentation names them free; no photograph serves both splits.
PHOTOS = {
    'train': (
        'astronaut.png',
        'rocket.jpg',
        'camera.png',
        'brick.png',
        'grass.png',
        'gravel.png',
        'ihc.png',
        'retina.jpg',
        'coins.png',
    ),
    'val': ('chelsea.png', 'coffee.png'),
}
# mean of 255 that a bright picture has at least; darker crops are drawn again
BRIGHT = 80
README = """Demo data of saga_mm: good photographs, and dark versions of those for validation.
Safe to delete: it is made again when needed. Made with the settings in meta.json.

train/high   {num_train} crops of {size} x {size} pixels, to be darkened while training
val/high     {num_val} crops
val/low      the same {num_val}, darkened by SynthesizeLowLight

The photographs come with scikit-image, whose documentation lists them as public domain, CC0 or without known copyright
restrictions; no photograph is in both parts:
train: {train}
val: {val}
"""


def make_demo_photos(
    root: str | Path, num_train: int = 200, num_val: int = 24, size: int = 192, seed: int = 0, progress: bool = True
) -> Path:
    """Make bright pictures for training and pairs for validation, unless they are there already.

    Writes ``train/high/*.png``, ``val/high/*.png``, ``val/low/*.png``, ``README.txt`` and ``meta.json``. Picture ``i``
    of a split depends on ``seed``, ``size`` and ``i`` alone: a square of a photograph, at least ``size`` wide where the
    photograph allows it, shrunk to ``size``; gray photographs are coloured. The folder appears all at once, as with
    :func:`~saga_mm.datasets.make_demo_shapes`.

    Args:
        root: Folder to make. If it holds such data of other arguments, that is replaced.
        num_train: Number of training pictures, from 1 up.
        num_val: Number of validation pairs, from 1 up.
        size: Height and width in pixels, 64 to 300.
        seed: Any integer from 0 up.
        progress: Show a bar, and say what is done.

    Returns:
        The folder.

    Raises:
        SagaError: An argument is out of range, ``root`` holds something else than such data, it cannot be written, or
            the photographs are missing.
    """
    args = {'num_train': num_train, 'num_val': num_val, 'size': size, 'seed': seed}
    check_args(args, {'size': (64, 300), 'seed': (0, 2**63)})
    meta = {'generator': 'saga_mm demo photos', 'version': VERSION, 'arguments': args}
    return make_once(root, meta, partial(_fill, **args, progress=progress), announce=progress)


def _fill(folder: Path, num_train: int, num_val: int, size: int, seed: int, progress: bool) -> None:
    counts = {'train': num_train, 'val': num_val}
    photos = {split: [read_sample_photo(name) for name in PHOTOS[split]] for split in counts}
    for part in ('train/high', 'val/high', 'val/low'):
        (folder / part).mkdir(parents=True)
    darkener = SynthesizeLowLight()
    jobs = [(split, index) for split, count in counts.items() for index in range(count)]
    for split, index in progress_bar(jobs, len(jobs), 'demo data', progress):
        rng = np.random.default_rng([seed, list(PHOTOS).index(split), index])
        # in turn, so that each photograph serves as often
        photo = photos[split][index % len(photos[split])]
        bright = _crop(_tint(photo, rng), size, rng)
        write_png(folder / split / 'high' / f'{index:06d}.png', bright)
        if split == 'val':
            write_png(folder / split / 'low' / f'{index:06d}.png', darkener.darken(bright, rng))
    names = {split: ', '.join(files) for split, files in PHOTOS.items()}
    text = README.format(num_train=num_train, num_val=num_val, size=size, **names)
    (folder / 'README.txt').write_text(text, encoding='utf-8')


def _tint(photo: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """A gray photograph in one colour, so that there are not too few; one in colours stays as it is."""
    gains = rng.uniform(0.6, 1, 3)
    gray = np.array_equal(photo[..., 0], photo[..., 1]) and np.array_equal(photo[..., 1], photo[..., 2])
    return np.rint(photo * (gains / gains.max())).astype(np.uint8) if gray else photo


def _crop(photo: np.ndarray, size: int, rng: np.random.Generator) -> np.ndarray:
    """A square of a photograph that is bright enough, or the brightest of many."""
    best, mean = photo, -math.inf
    for _ in range(50):
        longest = min(photo.shape[:2])
        side = round(np.exp(rng.uniform(*np.log([min(size, longest), longest]))))
        top, left = (rng.integers(have - side + 1) for have in photo.shape[:2])
        square = photo[top : top + side, left : left + side]
        if square.mean() > mean:
            best, mean = square, square.mean()
        if mean >= BRIGHT:
            break
    return cv2.resize(best, (size, size), interpolation=cv2.INTER_AREA)


def check_args(args: dict[str, int], limits: dict[str, tuple[int, int]]) -> None:
    """Refuse what is no whole number, or out of ``limits``; without limits, from 1 to a million is allowed.

    Raises:
        SagaError: Naming the argument.
    """
    for name, value in args.items():
        low, high = limits.get(name, (1, 10**6))
        if isinstance(value, bool) or not isinstance(value, int) or not low <= value <= high:
            raise SagaError(f'Demo data: {name} must be an integer from {low} to {high}, not {value!r}.')


def read_sample_photo(name: str) -> np.ndarray:
    """A photograph from the installed scikit-image as ``(h, w, 3)`` uint8 BGR, without importing it or any download."""
    spec = importlib.util.find_spec('skimage')
    if spec is None or spec.origin is None:
        raise SagaError('The demo data needs scikit-image for its photographs: pip install scikit-image')
    path = Path(spec.origin).parent / 'data' / name
    try:
        # not by OpenCV, which prints warnings about the colour profiles of these files
        with open_picture(path) as photo:
            return np.ascontiguousarray(np.asarray(photo.convert('RGB'))[..., ::-1])
    except OSError as error:
        cure = 'pip install --force-reinstall scikit-image'
        raise SagaError(f'The demo data needs {path}, missing or damaged: {cure}') from error


def write_png(path: Path, image: np.ndarray) -> None:
    """Write ``(h, w)`` or ``(h, w, 3)`` uint8 BGR."""
    path.write_bytes(cv2.imencode('.png', image, [cv2.IMWRITE_PNG_COMPRESSION, 4])[1].tobytes())
