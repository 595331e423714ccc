"""Darken the light of a scene: less of it, uneven light, lamps."""

import cv2
import numpy as np

from .ranges import drawn_log

# radius of a lamp as a share of the picture's longer side, and how much brighter than white it is
LAMP_RADII, LAMP_LIGHT = (0.003, 0.03), (1.0, 30.0)
# share of a lamp's light in the middle of its glow, and the glow's radius in those of the lamp
GLOW, GLOW_RADII = (0.01, 0.1), (2.0, 10.0)


def falloff_stops(height: int, width: int, stops: float, rng: np.random.Generator) -> np.ndarray:
    """``(height, width, 1)`` float32 from 0 to ``stops``: noise of 3 x 3 places, smoothly in between."""
    field = cv2.resize(rng.standard_normal((3, 3), np.float32), (width, height), interpolation=cv2.INTER_CUBIC)
    return ((field - field.min()) * (stops / max(np.ptp(field), 1e-6)))[..., None]


def backlight_stops(image: np.ndarray, stops: float) -> np.ndarray:
    """``(H, W, 1)`` float32: ``stops`` where a picture, uint8 BGR, is black, 0 where it is white, by its luma."""
    luma = cv2.cvtColor(image, cv2.COLOR_BGR2GRAY)[..., None] / np.float32(255)
    return stops * (1 - luma)


def add_lamps(shape: tuple[int, int], count: int, rng: np.random.Generator) -> np.ndarray:
    """Linear light of lamps, ``(H, W, 3)`` float32 BGR: discs brighter than white, warm or cold, each with its glow.

    The glow falls with the third power of the distance, ``(1 + (d / a)^2)^-1.5``, as the light that lenses and eyes
    scatter does beyond a small angle (Spencer et al., *Physically-Based Glare Effects for Digital Images*, SIGGRAPH
    1995).
    """
    height, width = shape
    light = np.zeros((height, width, 3), np.float32)
    rows, columns = np.arange(height, dtype=np.float32)[:, None], np.arange(width, dtype=np.float32)
    for _ in range(count):
        y, x = rng.random(2) * (height, width)
        radius = max(height, width) * drawn_log(LAMP_RADII, rng)
        distance = np.hypot(rows - np.float32(y), columns - np.float32(x))
        disc = (radius - distance + np.float32(0.5)).clip(0, 1)
        reach = radius * rng.uniform(*GLOW_RADII)
        glow = drawn_log(GLOW, rng) * (1 + (distance / np.float32(reach)) ** 2) ** np.float32(-1.5)
        warmth = rng.uniform(-0.5, 1.0)
        colour = np.float32(2.0) ** np.float32([-warmth, 0, warmth / 2])
        light += np.float32(drawn_log(LAMP_LIGHT, rng)) * (disc + glow)[..., None] * colour
    return light
