"""Draw one demo picture: overlapping textured shapes with holes, on a crop of a photograph."""

import colorsys
import math
from collections.abc import Sequence
from typing import NamedTuple

import cv2
import numpy as np

from .outlines import DEMO_PALETTE, Shape, draw_shape

# What a shape is made of, in the order of the classes.
TEXTURES = ('plain', 'checker', 'stripes', 'blotches', 'photo')
HUE_SPREAD = 0.08

# Shares of a shape's own area: a new shape lies this much inside the picture, every shape stays this much visible.
MIN_INSIDE = 0.85
MIN_VISIBLE = 0.6


class Scene(NamedTuple):
    """One picture and its ground truth.

    Attributes:
        image: ``(height, width, 3)`` uint8, BGR.
        instances: ``(height, width)`` uint8; 0 is background, ``k`` the visible part of the k-th shape.
        labels: Index into ``DEMO_CLASSES`` of each shape, bottom to top.
    """

    image: np.ndarray
    instances: np.ndarray
    labels: list[int]

    def semantic(self) -> np.ndarray:
        """Class map, ``(height, width)`` uint8: 0 is background, ``label + 1`` elsewhere."""
        table = np.array([0] + [label + 1 for label in self.labels], dtype=np.uint8)
        return table[self.instances]


def _direction(rng: np.random.Generator) -> tuple[float, float]:
    """Cosine and sine of a random angle, as plain floats: numpy's own would turn float32 arrays into float64."""
    angle = rng.uniform(0, 2 * math.pi)
    return math.cos(angle), math.sin(angle)


def _photo_crop(rng: np.random.Generator, photos: Sequence[np.ndarray], shape: tuple, share: tuple) -> np.ndarray:
    """A random crop of a random photograph, between ``share`` of its short side, resized to ``shape``; float32."""
    photo = photos[rng.integers(len(photos))]
    side = int(min(photo.shape[:2]) * rng.uniform(*share))
    y, x = (int(rng.integers(n - side + 1)) for n in photo.shape[:2])
    crop = photo[y : y + side, x : x + side]
    if rng.random() < 0.5:
        crop = crop[:, ::-1]
    mode = cv2.INTER_AREA if side > max(shape) else cv2.INTER_LINEAR
    return cv2.resize(np.ascontiguousarray(crop), shape[::-1], interpolation=mode).astype(np.float32)


def _pattern(rng: np.random.Generator, kind: str, height: int, width: int) -> np.ndarray:
    """A map ``(height, width, 1)`` in [0, 1] that mixes two colours."""
    if kind == 'blotches':
        cells = rng.random((max(2, height // 7), max(2, width // 7)), dtype=np.float32)
        return np.clip(cv2.resize(cells, (width, height), interpolation=cv2.INTER_LINEAR) * 2 - 0.5, 0, 1)[..., None]
    y, x = np.mgrid[:height, :width].astype(np.float32)
    (cos, sin), period = _direction(rng), rng.uniform(8, 18)
    waves = np.sin((cos * x + sin * y) * (2 * math.pi / period))
    if kind == 'checker':
        waves = waves * np.sin((cos * y - sin * x) * (2 * math.pi / period))
    return np.clip(waves * 3 + 0.5, 0, 1)[..., None]


def _colour(rng: np.random.Generator, hue: float | None, away_from: np.ndarray, distance: float) -> np.ndarray:
    """A random BGR colour, about of a hue if one is given, at least ``distance`` from another one.

    The first of ten that is so far away, or else the farthest.
    """
    tries = [rng.uniform(20, 245, 3) if hue is None else _of_hue(rng, hue) for _ in range(10)]
    gaps = [np.linalg.norm(t - away_from) for t in tries]
    best = next((i for i, gap in enumerate(gaps) if gap >= distance), int(np.argmax(gaps)))
    return tries[best].astype(np.float32)


def _of_hue(rng: np.random.Generator, hue: float) -> np.ndarray:
    hue = (hue + rng.uniform(-HUE_SPREAD, HUE_SPREAD)) % 1
    return 255 * np.array(colorsys.hsv_to_rgb(hue, rng.uniform(0.35, 1), rng.uniform(0.35, 1))[::-1])


def _texture(
    rng: np.random.Generator, label: int, photos: Sequence[np.ndarray], shape: tuple, behind: np.ndarray
) -> np.ndarray:
    """Colours ``(h, w, 3)`` float32 of a class that stand out against the mean colour ``behind`` them."""
    kind, hue = TEXTURES[label], colorsys.rgb_to_hsv(*DEMO_PALETTE[label])[0]
    colour = _colour(rng, hue, behind, 100)
    if kind == 'photo':
        patch = _photo_crop(rng, photos, shape, (0.25, 0.6))
        texture = colour + (patch - patch.mean(axis=(0, 1))) * 0.8
    elif kind == 'plain':
        texture = np.broadcast_to(colour, (*shape, 3))
    else:
        mix = _pattern(rng, kind, *shape)
        texture = colour * (1 - mix) + _colour(rng, None, colour, 70) * mix
    return texture * _light(rng, shape, 0.18)


def _light(rng: np.random.Generator, shape: tuple, strength: float) -> np.ndarray:
    """A slow linear change of brightness around 1, ``(h, w, 1)``."""
    cos, sin = _direction(rng)
    y, x = (np.linspace(-1, 1, n, dtype=np.float32) for n in shape)
    return 1 + strength * (cos * x[None, :, None] + sin * y[:, None, None])


def _windows(top: int, left: int, shape: tuple, canvas: tuple) -> tuple[tuple, tuple]:
    """Slices of the picture and of a patch at ``(top, left)`` where the two overlap; both empty where they do not."""
    inside, patch = [], []
    for at, length, size in zip((top, left), shape, canvas):
        low = min(size, max(0, at))
        high = max(low, min(size, at + length))
        inside.append(slice(low, high))
        patch.append(slice(low - at, high - at))
    return tuple(inside), tuple(patch)


def _place(
    rng: np.random.Generator, shape: Shape, instances: np.ndarray, areas: Sequence[int]
) -> tuple[int, int] | None:
    """Try one random place: its ``(top, left)``, or None when it would hide too much of what is there."""
    size = np.array(instances.shape)
    mask = shape.alpha >= 0.5
    centre = rng.uniform(0.06, 0.94, 2) * size
    if areas and rng.random() < 0.35:
        beside = np.argwhere(instances == rng.integers(1, len(areas) + 1)).mean(axis=0)
        centre = np.clip(beside + rng.uniform(-1, 1, 2) * 0.8 * max(mask.shape), 0, size)
    top, left = np.round(centre - np.array(mask.shape) / 2).astype(int).tolist()
    inside, patch = _windows(top, left, mask.shape, instances.shape)
    if mask[patch].sum() < MIN_INSIDE * mask.sum():
        return None
    seen = np.bincount(instances.ravel(), minlength=len(areas) + 1)
    seen -= np.bincount(instances[inside][mask[patch]], minlength=len(areas) + 1)
    return (top, left) if all(seen[1:] >= MIN_VISIBLE * np.array(areas)) else None


def _paint(
    rng: np.random.Generator, canvas: np.ndarray, shape: Shape, at: tuple[int, int], sun: np.ndarray, photos: Sequence
) -> None:
    """Draw a shape and its soft shadow onto ``canvas`` ``(height, width, 3)`` float32, in place."""
    height, width = shape.alpha.shape
    blur = max(3, max(shape.alpha.shape) // 8)
    shadow = cv2.blur(np.pad(shape.alpha, blur), (blur, blur))
    dy, dx = np.round(sun * blur * 0.7).astype(int).tolist()
    inside, patch = _windows(at[0] - blur + dy, at[1] - blur + dx, shadow.shape, canvas.shape[:2])
    canvas[inside] *= 1 - 0.4 * shadow[patch][..., None]

    inside, patch = _windows(*at, (height, width), canvas.shape[:2])
    behind = canvas[inside].mean(axis=(0, 1))
    texture = _texture(rng, shape.label, photos, (height, width), behind)[patch]
    if rng.random() < 0.5:
        line = texture.mean(axis=(0, 1)) * float(rng.choice([0.4, 1.6]))
        texture = texture + (line - texture) * shape.edge[patch][..., None]
    canvas[inside] += (np.clip(texture, 0, 255) - canvas[inside]) * shape.alpha[patch][..., None]


def _background(rng: np.random.Generator, photos: Sequence[np.ndarray], height: int, width: int) -> np.ndarray:
    """A photograph at about the scale that it has behind a small picture, continued by its mirror images; float32."""
    photo = photos[rng.integers(len(photos))]
    scale = rng.uniform(1, 1.5) * 256 / min(photo.shape[:2])
    photo = cv2.resize(photo, None, fx=scale, fy=scale, interpolation=cv2.INTER_LINEAR)
    rest = [(0, max(0, wanted - there)) for wanted, there in zip((height, width), photo.shape)]
    return np.pad(photo, [*rest, (0, 0)], mode='symmetric')[:height, :width].astype(np.float32)


def draw_scene(rng: np.random.Generator, photos: Sequence[np.ndarray], size: int | tuple[int, int]) -> Scene:
    """Draw one picture of shapes about 48 to 120 pixels across on 256 x 256 pixels, 2 to 5 of them.

    Args:
        rng: Source of every choice: the same generator state gives the same pixels.
        photos: ``(h, w, 3)`` uint8 BGR photographs for backgrounds and textures.
        size: Height and width in pixels. One number makes a square whose shapes grow with it; two numbers, multiples of
            256, a picture with more shapes, as large and as dense as on 256 x 256 pixels, at most 255 of them.
    """
    if isinstance(size, int):
        height, width, unit, tiles = size, size, size, 1
        canvas = _photo_crop(rng, photos, (size, size), (0.5, 1.0))
    else:
        (height, width), unit = size, 256
        tiles = height * width // unit**2
        canvas = _background(rng, photos, height, width)
    # a calmer background, as behind things that a photographer wanted seen, and of any tint: most photographs are gray
    canvas = canvas.mean(axis=(0, 1)) + (canvas - canvas.mean(axis=(0, 1))) * np.float32(0.7)
    canvas *= (rng.uniform(0.8, 1.1) * rng.uniform(0.75, 1.25, 3)).astype(np.float32)
    instances = np.zeros((height, width), np.uint8)
    areas: list[int] = []
    labels: list[int] = []
    sun = rng.choice([-1.0, 1.0], 2)
    smallest = 48 * unit / 256
    for _ in range(min(255, rng.integers(2 * tiles, 5 * tiles + 1))):
        side = rng.triangular(48, 80, 120) * unit / 256
        for _ in range(30):
            shape = draw_shape(rng, side)
            at = _place(rng, shape, instances, areas)
            if at is None:
                side = max(smallest, side * 0.96)
                continue
            _paint(rng, canvas, shape, at, sun, photos)
            inside, patch = _windows(*at, shape.alpha.shape, (height, width))
            labels.append(shape.label)
            areas.append(int((shape.alpha >= 0.5).sum()))
            instances[inside][shape.alpha[patch] >= 0.5] = len(labels)
            break
    canvas = canvas * _light(rng, (height, width), 0.1) + rng.normal(0, rng.uniform(1, 5), canvas.shape)
    return Scene(np.clip(np.round(canvas), 0, 255).astype(np.uint8), instances, labels)
