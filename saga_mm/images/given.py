"""Pictures as Python programs have them, arrays of several kinds and Pillow's images, as models are given them."""

from __future__ import annotations

import os
from typing import Any

import numpy as np
from PIL import Image

from saga_mm.errors import SagaError
from saga_mm.files import user_path

from .pictures import read_picture, rgb_of_pillow

KINDS = 'an array (H, W, 3) of RGB, a PIL image or a path'


def rgb_picture(image: Any) -> np.ndarray:
    """A picture as ``(H, W, 3)`` uint8 RGB, converted as the files of :func:`read_picture` are.

    Args:
        image: An array ``(H, W, 3)`` RGB, with a fourth channel for opacity, which is left out, or gray, ``(H, W)``;
            uint8, uint16, or floating point in [0, 1]. Or a PIL image or the path of a file, which are turned upright.

    Raises:
        SagaError: It is none of these, or the file cannot be read.
    """
    if isinstance(image, (str, os.PathLike)):
        return read_picture(user_path(image))
    if isinstance(image, Image.Image):
        return rgb_of_pillow(image)
    if not isinstance(image, np.ndarray):
        raise SagaError(f'a picture is {KINDS}, not a {type(image).__name__}')
    if image.ndim not in (2, 3) or image.size == 0 or (image.ndim == 3 and image.shape[2] not in (1, 2, 3, 4)):
        raise SagaError(f'a picture of shape {image.shape}: must be (H, W, 3), or (H, W) for gray')
    colours = image[..., None] if image.ndim == 2 else image
    # a second or fourth channel is opacity
    colours = eight_bits(colours[..., :3] if colours.shape[2] > 2 else colours[..., :1])
    return np.repeat(colours, 3, axis=2) if colours.shape[2] == 1 else colours


def eight_bits(values: np.ndarray) -> np.ndarray:
    """uint8 of uint8, of uint16 by its upper half, or of floating point in [0, 1].

    Raises:
        SagaError: The values are of another type or range.
    """
    if values.dtype == np.uint8:
        return values
    if values.dtype.kind == 'u' and values.dtype.itemsize == 2:
        return (values >> 8).astype(np.uint8)
    if values.dtype.kind != 'f':
        raise SagaError(f'a picture of {values.dtype}: must be uint8, uint16, or floating point in [0, 1]')
    lowest, highest = float(values.min()), float(values.max())
    if not 0 <= lowest <= highest <= 1:
        raise SagaError(f'a picture of {values.dtype} from {lowest:.4g} to {highest:.4g}: must be in [0, 1]')
    return (values * 255).round().astype(np.uint8)
