"""Transforms of pairs: keys ``img`` (dark) and ``gt`` (bright), ``(H, W, 3)`` uint8 BGR; either may be absent.

A third, ``light``, is the linear light of ``gt``, float32 BGR, where there is a file of it.
"""

from collections.abc import Callable, Sequence
from pathlib import Path

import cv2
import numpy as np
import torch

from saga_mm.archives import ArchiveError, read_arrays
from saga_mm.errors import SagaError
from saga_mm.images.opencv import is_misread, read_for_training
from saga_mm.registry import TRANSFORMS

from .darken import SynthesizeLowLight
from .ranges import check_range, random_generator
from .sample import LowLightSample
from .tone import linear_to_srgb, srgb_to_linear, to_bytes

__all__ = [
    'LoadPair',
    'PackLowLightInputs',
    'PairExposureJitter',
    'PairRandomCrop',
    'PairRandomFlip',
    'SynthesizeLowLight',
    'read_bgr',
]
PICTURES = ('img', 'gt')
ON_ALL = (*PICTURES, 'light')
# linear light is within the range of float16
BRIGHTEST = 65504.0


def read_bgr(path: str | Path) -> np.ndarray:
    """A picture as ``(H, W, 3)`` uint8 BGR, turned upright by its EXIF tag.

    Gray is repeated three times, 16 bits are rounded to 8, transparency is dropped.

    Raises:
        SagaError: The file cannot be read, or has values other than 8 or 16 bits.
    """
    try:
        picture = cv2.imdecode(np.fromfile(path, np.uint8), cv2.IMREAD_COLOR | cv2.IMREAD_ANYDEPTH)
    except (OSError, cv2.error) as error:
        reason = error.strerror if isinstance(error, OSError) else 'it is empty, damaged or too large'
        raise SagaError(f'{path}: cannot be read as a picture ({reason}).') from error
    if picture is None:
        raise SagaError(f'{path}: is not a picture that OpenCV reads, or a damaged one.')
    if picture.dtype == np.uint8 and is_misread(path):
        # transparency, or a turn by EXIF
        return read_for_training(path)
    if picture.dtype == np.uint16:
        return to_bytes(picture / np.float32(65535))
    if picture.dtype != np.uint8:
        raise SagaError(f'{path}: has values of type {picture.dtype}. Save it with 8 or 16 bits.')
    return picture


def read_light(path: str | Path, shape: tuple[int, ...]) -> np.ndarray:
    """Linear light of a picture, ``(H, W, 3)`` float32 BGR: the array ``linear`` of an ``.npz`` file, RGB.

    Args:
        path: The file.
        shape: Of the picture.

    Raises:
        SagaError: The file cannot be read, or holds no such array.
    """
    try:
        light = read_arrays(path).get('linear')
    except Exception as error:  # damaged files raise almost anything
        hint = f' ({error})' if isinstance(error, ArchiveError) else ''
        raise SagaError(f'{path}: is no .npz file of linear light{hint}.') from error
    if light is None or light.dtype.kind != 'f' or light.shape != shape or not np.isfinite(light).all():
        raise SagaError(f'{path}: must hold an array linear of {shape[0]} x {shape[1]} x 3 finite numbers, RGB.')
    return np.ascontiguousarray(light[..., ::-1], np.float32).clip(0, BRIGHTEST)


@TRANSFORMS.register_module()
class LoadPair:
    """Read ``img`` from ``img_path`` and ``gt`` from ``gt_path``, whichever are there, and set ``ori_shape``.

    Args:
        light: Read ``light`` as well, from a file beside ``gt_path`` of the same name with the suffix ``.npz``, where
            there is one; see :func:`read_light`.

    Raises:
        SagaError: A file cannot be read, or sizes differ.
    """

    def __init__(self, light: bool = False) -> None:
        self.light = light

    def __call__(self, results: dict) -> dict:
        for key in PICTURES:
            if results.get(f'{key}_path'):
                results[key] = read_bgr(results[f'{key}_path'])
                results['ori_shape'] = results[key].shape[:2]
        sizes = [results[key].shape[1::-1] for key in PICTURES if key in results]
        if len(set(sizes)) > 1:
            sides = [f'{results[f"{key}_path"]} ({w} x {h})' for key, (w, h) in zip(PICTURES, sizes)]
            raise SagaError(f'The two pictures of a pair differ in size: {" and ".join(sides)}.')
        if self.light and 'gt' in results:
            path = Path(results['gt_path']).with_suffix('.npz')
            if path.is_file():
                results['light'] = read_light(path, results['gt'].shape)
        return results


@TRANSFORMS.register_module()
class PairRandomCrop:
    """Cut the same window out of both; pictures that are smaller are mirrored at their lower and right edges first.

    Args:
        crop_size: Height and width in pixels, or one number for both. May be set anew at any time.
    """

    def __init__(self, crop_size: int | Sequence[int]) -> None:
        self.crop_size = crop_size

    def __call__(self, results: dict) -> dict:
        height, width = _size(self.crop_size)
        rng = random_generator()
        place = rng.random(2)

        def crop(image: np.ndarray) -> np.ndarray:
            bottom, right = max(0, height - image.shape[0]), max(0, width - image.shape[1])
            if bottom or right:
                image = cv2.copyMakeBorder(image, 0, bottom, 0, right, cv2.BORDER_REFLECT_101)
            top, left = (int(p * (have - want + 1)) for p, have, want in zip(place, image.shape, (height, width)))
            return image[top : top + height, left : left + width]

        return _on_both(results, crop)


@TRANSFORMS.register_module()
class PairRandomFlip:
    """Mirror and transpose both alike; all three together give the eight ways to lay a square.

    Args:
        horizontal: How often left and right change places.
        vertical: How often top and bottom change places.
        transpose: How often rows become columns; squares only, so that the pictures of a batch stay of one shape.
    """

    def __init__(self, horizontal: float = 0.5, vertical: float = 0.5, transpose: float = 0.5) -> None:
        self.probabilities = tuple(
            check_range(f'PairRandomFlip: {name}', (0, value), 0, 1)[1]
            for name, value in (('horizontal', horizontal), ('vertical', vertical), ('transpose', transpose))
        )

    def __call__(self, results: dict) -> dict:
        horizontal, vertical, transpose = random_generator().random(3) < self.probabilities

        def flip(image: np.ndarray) -> np.ndarray:
            image = image[:: -1 if vertical else 1, :: -1 if horizontal else 1]
            flipped = image.transpose(1, 0, 2) if transpose and image.shape[0] == image.shape[1] else image
            return np.ascontiguousarray(flipped)

        return _on_both(results, flip)


@TRANSFORMS.register_module()
class PairExposureJitter:
    """Change exposure and gamma of the dark picture alone, so that the same answer is learned from many inputs.

    Light is multiplied by ``2**exposure``, the encoded values are then raised to ``gamma``.

    Args:
        exposure: Range in stops; drawn evenly.
        gamma: Range; drawn evenly in its logarithm.
        prob: How often.
    """

    def __init__(
        self, exposure: Sequence[float] = (-0.5, 0.5), gamma: Sequence[float] = (0.85, 1.18), prob: float = 0.5
    ) -> None:
        self.exposure = check_range('PairExposureJitter: exposure', exposure, -16, 16)
        self.gamma = check_range('PairExposureJitter: gamma', gamma, 0.05, 20)
        self.prob = check_range('PairExposureJitter: prob', (0, prob), 0, 1)[1]

    def __call__(self, results: dict) -> dict:
        rng = random_generator()
        if rng.random() < self.prob:
            gain, gamma = 2 ** rng.uniform(*self.exposure), np.exp(rng.uniform(*np.log(self.gamma)))
            light = (gain * srgb_to_linear(np.arange(256) / 255)).clip(0, 1)
            results['img'] = to_bytes(linear_to_srgb(light) ** gamma)[results['img']]
        return results


@TRANSFORMS.register_module()
class PackLowLightInputs:
    """Make what the model takes: ``inputs``, ``(3, H, W)`` uint8 BGR, and ``data_samples``, a :class:`LowLightSample`.

    Raises:
        SagaError: There is no dark picture.
    """

    def __call__(self, results: dict) -> dict:
        if 'img' not in results:
            raise SagaError(
                f'{results.get("gt_path")}: there is no dark picture. Put LoadPair into the pipeline, and '
                'SynthesizeLowLight where the data set has bright pictures alone (low=None).'
            )
        sample = LowLightSample()
        if 'gt' in results:
            sample.gt_img = _to_tensor(results['gt'])
        keys = ('img_path', 'gt_path', 'ori_shape')
        sample.set_metainfo({key: results[key] for key in keys if results.get(key) is not None})
        return {'inputs': _to_tensor(results['img']), 'data_samples': sample}


def _on_both(results: dict, change: Callable[[np.ndarray], np.ndarray]) -> dict:
    results.update({key: change(results[key]) for key in ON_ALL if key in results})
    return results


def _size(value: int | Sequence[int]) -> tuple[int, int]:
    sides = (value, value) if isinstance(value, int) else tuple(value) if isinstance(value, Sequence) else ()
    if len(sides) != 2 or not all(isinstance(side, int) and side > 0 for side in sides):
        raise SagaError(f'PairRandomCrop: crop_size must be one or two whole numbers above 0, not {value!r}.')
    return sides


def _to_tensor(image: np.ndarray) -> torch.Tensor:
    return torch.from_numpy(np.ascontiguousarray(image.transpose(2, 0, 1)))
