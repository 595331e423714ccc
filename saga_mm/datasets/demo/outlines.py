"""Draw one shape of the demo pictures: its outline, its hole, its coverage of pixels."""

import math
from collections.abc import Sequence
from typing import NamedTuple

import cv2
import numpy as np

DEMO_CLASSES = ('disc', 'square', 'triangle', 'star', 'cross')
"""Class names; label ``i`` is category id ``i + 1`` in the annotations and value ``i + 1`` in the semantic masks."""

DEMO_PALETTE = ((230, 80, 60), (60, 140, 230), (250, 190, 50), (80, 180, 90), (170, 90, 210))
"""One RGB colour per class, for drawing predictions. The shapes themselves are of about that hue."""

SUPERSAMPLING = 4


class Shape(NamedTuple):
    """One shape before it is placed; ``alpha`` (coverage) and ``edge`` (its drawn border) are ``(h, w)`` in [0, 1]."""

    label: int
    alpha: np.ndarray
    edge: np.ndarray


def _star_of(radii: Sequence[float], first: float = 0.0) -> np.ndarray:
    angles = first + np.arange(len(radii)) * (2 * np.pi / len(radii))
    return np.stack([np.cos(angles), np.sin(angles)], axis=1) * np.array(radii)[:, None]


def _outline(rng: np.random.Generator, name: str) -> np.ndarray:
    """Corners ``(n, 2)`` of an upright shape around its centre, about 2 units across."""
    if name == 'disc':
        return _star_of([1.0] * 64)
    if name == 'square':
        return _star_of([1.28] * 4, math.pi / 4)
    if name == 'triangle':
        return _star_of([1.25] * 3, -math.pi / 2)
    if name == 'star':
        return _star_of([1.2, 1.2 * rng.uniform(0.40, 0.48)] * 5, -math.pi / 2)
    arm = np.array([(1.08, -1.0), (1.08, 1.0), (1.0, 1.0)]) * [1, rng.uniform(0.30, 0.40)]
    arm[2, 0] = arm[2, 1]
    return np.concatenate([arm @ np.array([[c, s], [-s, c]]) for c, s in ((1, 0), (0, 1), (-1, 0), (0, -1))])


def _hole(rng: np.random.Generator, corners: np.ndarray) -> np.ndarray:
    if rng.random() < 0.5:
        return corners * rng.uniform(0.35, 0.5)
    middles = (corners + np.roll(corners, 1, axis=0)) / 2
    inscribed = np.linalg.norm(np.concatenate([corners, middles]), axis=1).min()
    return _star_of([inscribed * rng.uniform(0.45, 0.65)] * 32)


def _fill(contours: Sequence[np.ndarray], height: int, width: int) -> np.ndarray:
    """Pixels ``(height, width)`` uint8 whose centre lies inside an odd number of contours.

    Not by OpenCV, whose versions differ by a pixel here and there: the masks are to be the same everywhere.
    """
    toggles = np.zeros((height, width + 1), np.uint8)
    rows = np.arange(height) + 0.5
    for start in contours:
        end = np.roll(start, -1, axis=0)
        edge, row = np.nonzero((start[:, 1:] <= rows) != (end[:, 1:] <= rows))
        (x, y), (dx, dy) = start[edge].T, (end - start)[edge].T
        crossing = x + (rows[row] - y) * dx / dy
        np.add.at(toggles, (row, np.clip(np.ceil(crossing - 0.5), 0, width).astype(int)), 1)
    return np.cumsum(toggles, axis=1, dtype=np.uint8)[:, :-1] & 1


def draw_shape(rng: np.random.Generator, side: float) -> Shape:
    """A shape of random class and aspect, turned up to 20 degrees, about ``side`` pixels across, often with a hole."""
    label = int(rng.integers(len(DEMO_CLASSES)))
    contours = [_outline(rng, DEMO_CLASSES[label])]
    if rng.random() < 0.4:
        contours.append(_hole(rng, contours[0]))

    angle = math.radians(rng.uniform(-20, 20))
    cos, sin = math.cos(angle), math.sin(angle)
    aspect = math.exp(rng.uniform(-0.16, 0.16))
    turn = np.array([[cos, sin], [-sin, cos]])
    contours = [(c * [aspect, 1 / aspect]) @ turn * (side / 2) for c in contours]
    low = np.floor(contours[0].min(axis=0)) - 1
    width, height = (np.ceil(contours[0].max(axis=0)) + 1 - low).astype(int)
    contours = [(c - low) * SUPERSAMPLING for c in contours]

    fill = _fill(contours, height * SUPERSAMPLING, width * SUPERSAMPLING)
    border = np.zeros_like(fill)
    thickness = max(2, round(2 * SUPERSAMPLING * side * rng.uniform(0.02, 0.035)))
    cv2.polylines(border, [np.round(c).astype(np.int32) for c in contours], True, 1, thickness)
    blocks = (height, SUPERSAMPLING, width, SUPERSAMPLING)
    alpha, edge = (x.reshape(blocks).mean(axis=(1, 3), dtype=np.float32) for x in (fill, fill & border))
    return Shape(label, alpha, edge)
