"""Tone curves between linear light and the values of a picture."""

import numpy as np

# encoded values from here up to 255 count as more and more clipped
CLIPPED_FROM = 230
# linear light from here on is compressed, where a picture shall keep what is brighter than white
SHOULDER = 0.5
# steps of the tables; close enough for 8 bits in the steepest part of the sRGB curve
STEPS = 2**14


def srgb_to_linear(values: np.ndarray) -> np.ndarray:
    """Linear light of sRGB values, both in [0, 1] (IEC 61966-2-1)."""
    return np.where(values <= 0.04045, values / 12.92, ((values + 0.055) / 1.055) ** 2.4)


def linear_to_srgb(light: np.ndarray) -> np.ndarray:
    """The inverse of :func:`srgb_to_linear`."""
    return np.where(light <= 0.0031308, light * 12.92, 1.055 * light ** (1 / 2.4) - 0.055)


def to_bytes(values: np.ndarray) -> np.ndarray:
    """Values in [0, 1] as uint8."""
    return np.rint(255 * values).astype(np.uint8)


class ToneCurve:
    """The curve of a camera: sRGB, with more or less of the S-shape that cameras add.

    ``f(x) = (1 - contrast) g + contrast (3 g^2 - 2 g^3)`` with ``g = linear_to_srgb(x)``. The second term is the curve
    of Brooks et al., *Unprocessing Images for Learned Raw Denoising* (CVPR 2019).

    Args:
        contrast: From 0 to 1.
    """

    def __init__(self, contrast: float = 0.0) -> None:
        encoded = _with_contrast(linear_to_srgb(np.linspace(0, 1, STEPS)), contrast)
        self._encoded = encoded.astype(np.float32)
        values = np.linspace(0, 1, STEPS)
        light = srgb_to_linear(np.interp(np.arange(256) / 255, _with_contrast(values, contrast), values))
        self._light = light

    def encode(self, light: np.ndarray) -> np.ndarray:
        """Values in [0, 1], float32, of linear light; what is above 1 is clipped."""
        return self._encoded[(light * (STEPS - 1) + 0.5).clip(0, STEPS - 1).astype(np.int32)]

    def light(self, headroom: float = 0.0) -> np.ndarray:
        """Linear light of the 256 values of a picture, float32; clipped whites are ``headroom`` stops brighter."""
        clipped = ((np.arange(256) - CLIPPED_FROM) / (255 - CLIPPED_FROM)).clip(0, 1)
        return (self._light * 2.0 ** (headroom * clipped)).astype(np.float32)


def compress_highlights(light: np.ndarray) -> np.ndarray:
    """Linear light within [0, 1]: as it is up to :data:`SHOULDER`, then ever flatter, so that windows keep drawing."""
    room = 1 - SHOULDER
    return np.where(light <= SHOULDER, light, SHOULDER + room * (1 - np.exp((SHOULDER - light) / room)))


def _with_contrast(values: np.ndarray, contrast: float) -> np.ndarray:
    return values + contrast * (3 * values**2 - 2 * values**3 - values)
