"""Read pictures by OpenCV, as the stack does for training, but those that it misreads as they are predicted on."""

from __future__ import annotations

import os
from pathlib import Path

import cv2
import numpy as np

from saga_mm.errors import SagaError

from .headers import any_size
from .pictures import read_picture

TIFF = (b'II*\0', b'MM\0*', b'II+\0', b'MM\0+')
# the flag of an extended WebP file that has EXIF
WEBP_EXIF = 0x08


def is_misread(path: str | os.PathLike[str]) -> bool:
    """Whether OpenCV may read other pixels of a file than it shows.

    It multiplies the colours of TIFF files with their transparency, reads signed and 4-bit values wrongly or not at
    all, and does not turn WebP files by their EXIF tag.
    """
    try:
        with open(path, 'rb') as file:
            head = file.read(32)
    except OSError:
        return False
    if head[:4] in TIFF:
        return True
    return head[:4] == b'RIFF' and head[8:16] == b'WEBPVP8X' and bool(head[20] & WEBP_EXIF)


def read_for_training(path: str | os.PathLike[str], ignore_orientation: bool = False) -> np.ndarray:
    """A picture as ``(H, W, 3)`` uint8 BGR, as it is trained on: with the pixels of ``read_picture``.

    Args:
        path: The file.
        ignore_orientation: Leave it as EXIF says that it is not to be seen.

    Raises:
        SagaError: It cannot be read.
    """
    if is_misread(path) and not ignore_orientation:
        with any_size():
            return np.ascontiguousarray(read_picture(path)[..., ::-1])
    flags = cv2.IMREAD_COLOR | cv2.IMREAD_IGNORE_ORIENTATION * ignore_orientation
    try:
        picture = cv2.imdecode(np.fromfile(path, np.uint8), flags)
    except (OSError, cv2.error):
        picture = None
    if picture is None:
        raise SagaError(f'{Path(path)}: cannot be read as a picture.')
    return picture
