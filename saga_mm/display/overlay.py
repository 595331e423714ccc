"""Draw class maps over pictures, with a legend."""

from __future__ import annotations

import colorsys
from collections.abc import Sequence

import cv2
import numpy as np
from PIL import Image, ImageDraw

from .fonts import pillow_font, shown

NAMED = 30
NARROWEST = 160


def overlay(image: np.ndarray, classes: np.ndarray, palette: Sequence[Sequence[int]], alpha: float = 0.6) -> np.ndarray:
    """A picture with the colour of each pixel's class laid over it.

    Args:
        image: ``(H, W, 3)`` uint8 RGB.
        classes: ``(H, W)`` of indices into the palette; others, such as 255, show the picture alone.
        palette: An RGB colour for each class.
        alpha: Weight of the colours.
    """
    known = (classes >= 0) & (classes < len(palette))
    colours = np.asarray(palette, np.uint8)[np.where(known, classes, 0)]
    blended = cv2.addWeighted(image, 1 - alpha, colours, alpha, 0)
    return np.where(known[..., None], blended, image)


def class_shares(classes: np.ndarray, count: int) -> list[float]:
    """The share of pixels of each class."""
    return (np.bincount(classes.ravel(), minlength=count)[:count] / max(1, classes.size)).tolist()


def with_legend(picture: np.ndarray, names: Sequence[str], palette: Sequence[Sequence[int]]) -> Image.Image:
    """A picture with a white strip below it that names colours.

    Args:
        picture: ``(H, W, 3)`` uint8 RGB; a narrow one gets a margin on the right.
        names: What the colours mean; of many, the first are shown and the others counted.
        palette: An RGB colour for each name.
    """
    height, width = picture.shape[:2]
    full = max(width, NARROWEST)
    size = min(32, max(11, full // 50))
    entries = list(zip(names, palette))[:NAMED]
    if len(names) > NAMED:
        entries.append((f'and {len(names) - NAMED} more', (255, 255, 255)))
    row, places = 1, []
    left = size // 2
    for name, colour in entries:
        font = pillow_font(name, size)
        length = round(2 * size + font.getlength(shown(name)))
        if left > size // 2 and left + length > full:
            row, left = row + 1, size // 2
        places.append((left, (row - 1) * round(1.5 * size) + size // 3, shown(name), tuple(colour), font))
        left += length
    canvas = Image.new('RGB', (full, height + row * round(1.5 * size) + size // 4), 'white')
    canvas.paste(Image.fromarray(picture), (0, 0))
    draw = ImageDraw.Draw(canvas)
    for left, top, name, colour, font in places:
        draw.rectangle((left, height + top, left + size, height + top + size), fill=colour)
        draw.text((left + 1.3 * size, height + top - size // 6), name, fill='black', font=font)
    return canvas


def palette(count: int) -> list[tuple[int, int, int]]:
    """Colours far apart, the same ones in every run."""
    hues = [(index * 0.618034) % 1 for index in range(count)]
    return [tuple(round(255 * part) for part in colorsys.hsv_to_rgb(hue, 0.75, 0.9)) for hue in hues]
