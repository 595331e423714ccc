"""Make dark photographs from good ones by a model of light and camera."""

import zlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from saga_mm.errors import SagaError
from saga_mm.registry import TRANSFORMS

from .ranges import check_range, drawn_log, random_generator
from .scene import add_lamps, backlight_stops, falloff_stops
from .sensor import Sensor, capture, draw_camera, smear
from .tone import ToneCurve, compress_highlights, to_bytes

# what is drawn if a config does not say, and the bounds of what it may say
RANGES: dict[str, tuple[Sequence[float], float, float]] = {
    'exposure': ((2.0, 5.0), -8, 16),
    'falloff': ((0.0, 0.0), 0, 16),
    'backlight': ((0.0, 0.0), 0, 16),
    'headroom': ((0.0, 3.0), 0, 16),
    'lamps': ((0, 0), 0, 100),
    'contrast': ((0.0, 1.0), 0, 1),
    'electrons': ((500, 10000), 1, 1e7),
    'read_noise': ((1.0, 4.0), 0, 1000),
    'row_noise': ((0.0, 0.3), 0, 100),
    'smear': ((0.3, 2.0), 0, 50),
    'quality': ((70, 98), 1, 100),
}
# one number: the largest, or how often
LARGEST: dict[str, tuple[float, float]] = {
    'cast': (0.25, 4),
    'black_level': (1.0, 1000),
    'matrix': (1.0, 1),
    'mosaic': (0.5, 1),
    'smeared': (0.6, 1),
    'lossless': (0.2, 1),
}


@TRANSFORMS.register_module()
class SynthesizeLowLight:
    """Make ``img``, the dark version of ``gt``, as a camera would have taken it with too little light.

    Light is linear, from the picture by the inverse of a tone curve, or from ``light`` of the results where
    ``LoadPair`` found a picture of linear light (``gt`` is then made anew, with its highlights compressed). It becomes
    less, evenly and unevenly; a sensor with its own colours counts photons (:func:`~.sensor.capture`), the camera
    denoises (:func:`~.sensor.smear`) and writes a JPEG file of 8 bits. Numbers are drawn for each picture, uniformly
    unless another distribution is named. Ranges are ``(lowest, highest)``; equal ends fix the number.

    Args:
        seed: None draws from numpy's global state, which mmengine seeds. A number makes the dark version of a file
            depend on this number and the file's name alone, as validation needs it.
        options: Any of

            - ``exposure``: how many stops darker
            - ``falloff``: how many stops less light the darkest places get than the brightest, besides ``exposure``, by
              a smooth random field: skies above dark ground, lamps in a corner
            - ``backlight``: how many stops less light black gets than white, and what lies between by its luma: scenes
              of high contrast, whose bright parts are well exposed already
            - ``headroom``: how many stops brighter than 255 whites were that are clipped
            - ``lamps``: how many are put into the picture, into ``gt`` too; there they are as bright as in ``img``
            - ``contrast``: of the tone curve, 0 to 1 (:class:`~.tone.ToneCurve`)
            - ``cast``: largest change of red and of blue against green, in stops either way
            - ``matrix``: how often the sensor has the colours of a real camera, and not those of sRGB
            - ``electrons``: counted by a pixel at white, about 10,000 at ISO 100 and 600 at ISO 1600 for a small
              camera; drawn evenly in its logarithm
            - ``read_noise``: standard deviation in electrons
            - ``row_noise``: standard deviation of what is added to a row, in ``read_noise``
            - ``black_level``: largest error of the black level in electrons, for each colour
            - ``mosaic``: how often a pixel has one colour and the others are interpolated; otherwise noise is
              independent between pixels, as in pictures that were scaled down
            - ``smeared``: how often the camera denoises
            - ``smear``: standard deviation in pixels by which it smooths colour
            - ``quality``: of the JPEG file, 1 to 100; None for no such file
            - ``lossless``: how often there is no such file either

    Raises:
        SagaError: A range is out of bounds, or no option of this class.
    """

    def __init__(self, seed: int | None = None, **options: Any) -> None:
        unknown = [name for name in options if name not in RANGES and name not in LARGEST]
        if unknown:
            known = ', '.join([*RANGES, *LARGEST, 'seed'])
            raise SagaError(f'SynthesizeLowLight: {unknown[0]} is no option; there are {known}.')
        self.seed, self.ranges = seed, {}
        for name, (usual, lowest, highest) in RANGES.items():
            values = options.get(name, usual)
            off = name == 'quality' and values is None
            self.ranges[name] = None if off else check_range(f'SynthesizeLowLight: {name}', values, lowest, highest)
        for name, (usual, highest) in LARGEST.items():
            value = options.get(name, usual)
            self.ranges[name] = check_range(f'SynthesizeLowLight: {name}', (0, value), 0, highest)[1]

    def __call__(self, results: dict) -> dict:
        name = Path(results['gt_path']).name
        rng = random_generator() if self.seed is None else np.random.default_rng([self.seed, zlib.crc32(name.encode())])
        results['img'], results['gt'] = self.pair(results['gt'], rng, results.pop('light', None))
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
        return self.pair(image, rng)[0]

    def pair(
        self, image: np.ndarray, rng: np.random.Generator, light: np.ndarray | None = None
    ) -> tuple[np.ndarray, np.ndarray]:
        """A dark version of a picture, and the picture itself, with lamps where ``lamps`` asks for them.

        Args:
            image: ``(H, W, 3)`` uint8 BGR.
            rng: What to draw from.
            light: Linear light of the same picture, float32 BGR; 1 is white. None to take it from ``image``.
        """
        drawn = {
            name: drawn_log(ends, rng) if name == 'electrons' else rng.uniform(*ends)
            for name, ends in self.ranges.items()
            if isinstance(ends, tuple)
        }
        curve = ToneCurve(drawn['contrast'])
        bright = image
        if light is None:
            light = curve.light(drawn['headroom'])[image]
        else:
            bright = to_bytes(curve.encode(compress_highlights(light)))
        lamps = None
        if round(drawn['lamps']):
            lamps = add_lamps(image.shape[:2], round(drawn['lamps']), rng)
            bright = to_bytes(curve.encode(curve.light()[bright] + lamps))
        dark = self._dimmed(light, image, drawn, rng)
        dark = capture(dark if lamps is None else dark + lamps, self._sensor(drawn, rng), rng)
        return self._developed(curve.encode(dark), drawn, rng), bright

    def _dimmed(
        self, light: np.ndarray, image: np.ndarray, drawn: dict[str, float], rng: np.random.Generator
    ) -> np.ndarray:
        """Less light, by all that darkens a scene."""
        stops, cast = drawn['exposure'], self.ranges['cast']
        blue, red = rng.uniform(-cast, cast, 2)
        light = light * np.float32(2.0) ** np.float32([blue - stops, -stops, red - stops])
        if drawn['falloff']:
            light *= np.float32(2.0) ** -falloff_stops(*image.shape[:2], drawn['falloff'], rng)
        if drawn['backlight']:
            light *= np.float32(2.0) ** -backlight_stops(image, drawn['backlight'])
        return light

    def _sensor(self, drawn: dict[str, float], rng: np.random.Generator) -> Sensor:
        read_noise, black = drawn['read_noise'], self.ranges['black_level']
        matrix, mosaic = rng.random(2) < (self.ranges['matrix'], self.ranges['mosaic'])
        to_camera, gains = draw_camera(rng) if matrix else (np.eye(3), np.ones(3))
        return Sensor(
            electrons=drawn['electrons'],
            read_noise=read_noise,
            row_noise=read_noise * drawn['row_noise'],
            black_level=rng.uniform(-black, black, 3),
            to_camera=to_camera,
            gains=gains,
            mosaic=bool(mosaic),
        )

    def _developed(self, image: np.ndarray, drawn: dict[str, float], rng: np.random.Generator) -> np.ndarray:
        """The file that a camera writes, as it is read again."""
        luma, *chances = rng.random(3)
        smeared, lossless = (chance < self.ranges[name] for chance, name in zip(chances, ('smeared', 'lossless')))
        picture = to_bytes(smear(image, drawn['smear'], luma) if smeared else image)
        if lossless or self.ranges['quality'] is None:
            return picture
        quality = round(drawn['quality'])
        return cv2.imdecode(cv2.imencode('.jpg', picture, [cv2.IMWRITE_JPEG_QUALITY, quality])[1], cv2.IMREAD_COLOR)
