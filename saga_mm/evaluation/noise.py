"""Noise of a photograph without a clean reference: by brightness, and its correlation length."""

from __future__ import annotations

from collections.abc import Iterable
from itertools import pairwise
from typing import NamedTuple

import numpy as np

# side of the blocks that are looked at, and the share of the flattest among those of one brightness
BLOCK, FLATTEST = 16, 0.1
# edges of the classes of brightness, in values of 255
EDGES = (0, 4, 8, 16, 32, 64, 128, 256)
# distances in pixels at which noise is compared with itself
LAGS = (1, 2, 4)


class NoiseProfile(NamedTuple):
    """What the flattest places of some pictures show.

    Attributes:
        luma: Standard deviation of luma in each class of :data:`EDGES`, in values of 255; NaN where no block is.
        colour: The same of ``R - Y`` and ``B - Y`` together.
        luma_reach: Correlation of luma noise with itself at :data:`LAGS`, mean over all classes.
        colour_reach: The same of colour.
        channels: Means of red, green and blue over all pixels, in values of 255.
    """

    luma: np.ndarray
    colour: np.ndarray
    luma_reach: np.ndarray
    colour_reach: np.ndarray
    channels: np.ndarray


def noise_profile(images: Iterable[np.ndarray]) -> NoiseProfile:
    """Measure pictures ``(H, W, 3)`` uint8 RGB together.

    Of all blocks of one brightness the flattest tenth is taken to hold noise alone, of each the plane that fits it best
    taken away. Texture makes the figures too large, so they compare pictures of like content only.

    Raises:
        ValueError: If no picture holds a block.
    """
    blocks, sums, pixels = [], np.zeros(3), 0
    for image in images:
        sums += image.sum((0, 1))
        pixels += image.shape[0] * image.shape[1]
        blocks.append(_blocks(image))
    blocks = np.concatenate(blocks) if blocks else np.zeros((0, 3, BLOCK, BLOCK), np.float32)
    if not len(blocks):
        raise ValueError(f'no picture holds a block of {BLOCK} x {BLOCK} pixels')
    levels = blocks[:, 0].mean((1, 2))
    noise = _without_plane(blocks)
    flatness = noise[:, 0].var((1, 2))
    luma, colour, chosen = [], [], []
    for low, high in pairwise(EDGES):
        (inside,) = np.nonzero((levels >= low) & (levels < high))
        inside = inside[np.argsort(flatness[inside], kind='stable')][: max(1, round(FLATTEST * len(inside)))]
        luma.append(np.sqrt(flatness[inside].mean()) if len(inside) else np.nan)
        colour.append(np.sqrt(noise[inside, 1:].var((2, 3)).mean()) if len(inside) else np.nan)
        chosen.append(inside)
    flat = noise[np.concatenate(chosen)]
    reach = [_reach(flat[:, :1]), _reach(flat[:, 1:])]
    return NoiseProfile(np.array(luma), np.array(colour), *reach, sums / pixels)


def _blocks(image: np.ndarray) -> np.ndarray:
    """``(count, 3, BLOCK, BLOCK)`` float32: luma, red and blue less luma."""
    x = image.astype(np.float32)
    luma = x @ np.float32([0.299, 0.587, 0.114])
    planes = np.stack([luma, x[..., 0] - luma, x[..., 2] - luma])
    rows, columns = (side // BLOCK for side in luma.shape)
    planes = planes[:, : rows * BLOCK, : columns * BLOCK].reshape(3, rows, BLOCK, columns, BLOCK)
    return planes.transpose(1, 3, 0, 2, 4).reshape(-1, 3, BLOCK, BLOCK)


def _without_plane(blocks: np.ndarray) -> np.ndarray:
    ramp = np.linspace(-1, 1, BLOCK, dtype=np.float32)
    down, across = np.broadcast_to(ramp[:, None], (BLOCK, BLOCK)), np.broadcast_to(ramp, (BLOCK, BLOCK))
    for basis in (np.ones_like(down), down, across):
        share = (blocks * basis).sum((-2, -1), keepdims=True) / (basis**2).sum()
        blocks = blocks - share * basis
    return blocks


def _reach(noise: np.ndarray) -> np.ndarray:
    power = max((noise**2).mean(), 1e-12)
    pairs = [
        ((noise[..., lag:, :] * noise[..., :-lag, :]).mean() + (noise[..., lag:] * noise[..., :-lag]).mean()) / 2
        for lag in LAGS
    ]
    return np.array(pairs) / power
