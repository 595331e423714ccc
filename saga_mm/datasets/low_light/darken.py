"""Dark photographs made from good ones, by what light and a camera do."""

import zlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from saga_mm.errors import SagaError
from saga_mm.registry import TRANSFORMS

# encoded values from here up to 255 count as more and more clipped
CLIPPED_FROM = 230


@TRANSFORMS.register_module()
class SynthesizeLowLight:
    """Make ``img``, the dark version of ``gt``, as a camera would have taken it with too little light.

    With all numbers drawn anew for each picture, the steps are: sRGB to linear light; clipped whites get back some of
    the light that clipping took, so that lamps stay bright; ``x = 2**-(exposure + falloff + backlight) * cast * light``
    for each channel; photons are counted, ``n ~ Poisson(electrons * x)``, and read out, ``y = (n + Normal(0,
    read_noise)) / electrons``; linear to sRGB, 8 bits, JPEG. The noise thus has the variance ``x / electrons +
    (read_noise / electrons)**2``. Noise is independent between pixels and channels.

    Ranges are ``(lowest, highest)``; equal ends fix the number.

    Args:
        exposure: How many stops darker; drawn evenly.
        electrons: Counted by a pixel at the value 255, fewer the higher the sensitivity: about 10,000 at ISO 100 and
            600 at ISO 1600 for a small camera. Drawn evenly in its logarithm.
        read_noise: Standard deviation in electrons; drawn evenly.
        cast: Largest change of red and of blue against green, in stops either way.
        headroom: How many stops brighter than 255 whites were that are clipped; drawn evenly.
        falloff: How many stops less light the darkest places get than the brightest, besides ``exposure``, by a smooth
            random field: skies above dark ground, lamps in a corner. Drawn evenly.
        backlight: How many stops less light black gets than white, and what lies between by its luma: scenes of high
            contrast, whose bright parts are well exposed already. Drawn evenly.
        quality: Of the JPEG file, 1 to 100; None stores without loss.
        seed: None draws from numpy's global state, which mmengine seeds. A number makes the dark version of a file
            depend on this number and the file's name alone, as validation needs it.

    Raises:
        SagaError: A range is out of bounds.
    """

    def __init__(
        self,
        exposure: Sequence[float] = (2.0, 5.0),
        electrons: Sequence[float] = (1000, 10000),
        read_noise: Sequence[float] = (1.0, 4.0),
        cast: float = 0.25,
        headroom: Sequence[float] = (0.0, 3.0),
        falloff: Sequence[float] = (0.0, 0.0),
        backlight: Sequence[float] = (0.0, 0.0),
        quality: Sequence[int] | None = (70, 98),
        seed: int | None = None,
    ) -> None:
        self.exposure = check_range('SynthesizeLowLight: exposure', exposure, -8, 16)
        self.electrons = check_range('SynthesizeLowLight: electrons', electrons, 1, 1e7)
        self.read_noise = check_range('SynthesizeLowLight: read_noise', read_noise, 0, 1000)
        self.cast = check_range('SynthesizeLowLight: cast', (0, cast), 0, 4)[1]
        self.headroom = check_range('SynthesizeLowLight: headroom', headroom, 0, 16)
        self.falloff = check_range('SynthesizeLowLight: falloff', falloff, 0, 16)
        self.backlight = check_range('SynthesizeLowLight: backlight', backlight, 0, 16)
        self.quality = None if quality is None else check_range('SynthesizeLowLight: quality', quality, 1, 100)
        self.seed = seed

    def __call__(self, results: dict) -> dict:
        name = Path(results['gt_path']).name
        rng = random_generator() if self.seed is None else np.random.default_rng([self.seed, zlib.crc32(name.encode())])
        results['img'] = self.darken(results['gt'], rng)
        results['img_path'] = results['gt_path']
        return results

    def darken(self, image: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        """A dark version of a picture.

        Args:
            image: ``(H, W, 3)`` uint8 BGR.
            rng: What to draw from.

        Returns:
            The same shape and type.
        """
        stops = rng.uniform(*self.exposure)
        electrons = np.exp(rng.uniform(*np.log(self.electrons)))
        read_noise = rng.uniform(*self.read_noise)
        blue, red = rng.uniform(-self.cast, self.cast, 2)
        headroom = rng.uniform(*self.headroom)
        light = _light_table(headroom)[image] * np.float32(2.0) ** np.float32([blue - stops, -stops, red - stops])
        if self.falloff[1]:
            light *= np.float32(2.0) ** (-rng.uniform(*self.falloff) * _smooth_field(*image.shape[:2], rng))
        if self.backlight[1]:
            luma = cv2.cvtColor(image, cv2.COLOR_BGR2GRAY)[..., None] / np.float32(255)
            light *= np.float32(2.0) ** (-rng.uniform(*self.backlight) * (1 - luma))
        counted = rng.poisson(electrons * light).astype(np.float32)
        counted += read_noise * rng.standard_normal(image.shape, np.float32)
        dark = to_bytes(linear_to_srgb((counted / electrons).clip(0, 1)))
        if self.quality is None:
            return dark
        quality = round(rng.uniform(*self.quality))
        return cv2.imdecode(cv2.imencode('.jpg', dark, [cv2.IMWRITE_JPEG_QUALITY, quality])[1], cv2.IMREAD_COLOR)


def srgb_to_linear(values: np.ndarray) -> np.ndarray:
    """Linear light of sRGB values, both in [0, 1] (IEC 61966-2-1)."""
    return np.where(values <= 0.04045, values / 12.92, ((values + 0.055) / 1.055) ** 2.4)


def linear_to_srgb(light: np.ndarray) -> np.ndarray:
    """The inverse of :func:`srgb_to_linear`."""
    return np.where(light <= 0.0031308, light * 12.92, 1.055 * light ** (1 / 2.4) - 0.055)


def to_bytes(values: np.ndarray) -> np.ndarray:
    """Values in [0, 1] as uint8."""
    return np.rint(255 * values).astype(np.uint8)


def random_generator() -> np.random.Generator:
    """A generator that starts from numpy's global state, which mmengine seeds in every process and every worker."""
    return np.random.default_rng(np.random.randint(0, 2**31, 4))


def check_range(what: str, values: Any, lowest: float, highest: float) -> tuple[float, float]:
    """A pair of numbers in order and within bounds.

    Raises:
        SagaError: It is none.
    """
    ends = () if isinstance(values, (str, Mapping)) or not isinstance(values, Sequence) else tuple(values)
    numbers = len(ends) == 2 and all(isinstance(end, (int, float)) for end in ends)
    if not numbers or not lowest <= ends[0] <= ends[1] <= highest:
        raise SagaError(f'{what} must be two numbers from {lowest:g} to {highest:g}, the lower first, not {values!r}.')
    return ends


def _light_table(headroom: float) -> np.ndarray:
    """Linear light of the 256 values, with the whites ``headroom`` stops brighter."""
    values = np.arange(256)
    clipped = ((values - CLIPPED_FROM) / (255 - CLIPPED_FROM)).clip(0, 1)
    return (srgb_to_linear(values / 255) * 2.0 ** (headroom * clipped)).astype(np.float32)


def _smooth_field(height: int, width: int, rng: np.random.Generator) -> np.ndarray:
    """``(height, width, 1)`` float32 from 0 to 1: noise of 3 x 3 places, smoothly in between."""
    field = cv2.resize(rng.standard_normal((3, 3), np.float32), (width, height), interpolation=cv2.INTER_CUBIC)
    return ((field - field.min()) / max(np.ptp(field), 1e-6))[..., None]
