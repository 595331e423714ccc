"""A picture of waves in 8 and 16 bits, and what files hold beside pixels."""

from collections.abc import Callable

import numpy as np
import pytest
from PIL import Image, ImageCms

HEIGHT, WIDTH = 90, 131
ORIENTATION = 0x0112
MAKER, EXPOSURE, NOTE, EXIF_WIDTH, EXIF_HEIGHT = 271, 33434, 37500, 40962, 40963
EXIF_IFD, GPS_IFD = 0x8769, 0x8825


@pytest.fixture(scope='session')
def picture() -> np.ndarray:
    """Waves and noise, ``(H, W, 4)`` uint8."""
    y, x = np.mgrid[:HEIGHT, :WIDTH]
    noise = np.random.default_rng(0).normal(0, 12, (4, HEIGHT, WIDTH))
    waves = [110 + 60 * np.sin(x / (9 + 7 * c)) + 40 * np.cos(y / (7 + 5 * c)) + noise[c] for c in range(4)]
    return np.stack(waves, axis=-1).clip(0, 255).astype(np.uint8)


@pytest.fixture(scope='session')
def deep() -> np.ndarray:
    return np.random.default_rng(1).integers(0, 65536, (HEIGHT, WIDTH, 4)).astype(np.uint16)


@pytest.fixture(scope='session')
def icc() -> bytes:
    return ImageCms.ImageCmsProfile(ImageCms.createProfile('sRGB')).tobytes()


@pytest.fixture(scope='session')
def exif_of() -> Callable[[int], bytes]:
    """EXIF with tags of each directory, and an orientation."""

    def exif_of(orientation: int = 1) -> bytes:
        exif = Image.Exif()
        exif[MAKER], exif[ORIENTATION] = 'Maker', orientation
        exif[EXIF_IFD] = {EXPOSURE: (1, 30), NOTE: b'note\0\1\2', EXIF_WIDTH: WIDTH, EXIF_HEIGHT: HEIGHT}
        exif[GPS_IFD] = {1: 'N', 2: (47.0, 22.0, 8.5)}
        return exif.tobytes()

    return exif_of
