"""Orientation, size and completeness of a picture, read without decoding it."""

import os
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path, PureWindowsPath
from typing import NamedTuple

import cv2
from PIL import ExifTags, Image

from saga_mm.errors import SagaError

from .pictures import open_picture, open_tiff
from .png_check import require_intact

EXIF_ORIENTATION = 0x0112
# the longest side that the libraries behind these formats read
LONGEST = {'JPEG': 65_500, 'PNG': 1_000_000}
# the mode of a TIFF file that Pillow does not open
BANDS = 'bands'


class Header(NamedTuple):
    """What Pillow says of a file without decoding it.

    Attributes:
        format: Such as ``JPEG``.
        mode: Such as ``RGB``.
        stored: Mode of the samples in the file, such as ``RGB;16B``.
        orientation: 1 to 8, of EXIF.
        buffered: It is progressive or interlaced: no row is complete before most of the file has been read.
    """

    format: str
    mode: str
    stored: str
    orientation: int
    buffered: bool


def leaves_folder(name: str) -> bool:
    """Whether a path is absolute, or leaves the folder that it starts in."""
    first = os.path.normpath(name).split(os.sep)[0]
    return first in ('', '..') or '\0' in name or bool(PureWindowsPath(name).anchor)


def shown_size(image: Image.Image, path: str, ignore_orientation: bool = False) -> tuple[int, int]:
    """``(width, height)`` of an opened image after loading, which turns it upright unless told not to."""
    if ignore_orientation or orientation(image) <= 4:
        return image.size
    # whether a PNG file is turned depends on the version of OpenCV
    return image.size[::-1] if image.format == 'WEBP' else cv2.imread(path, cv2.IMREAD_COLOR).shape[1::-1]


def orientation(image: Image.Image) -> int:
    """The EXIF tag: 1 is upright, from 5 on width and height change places."""
    return image.getexif().get(EXIF_ORIENTATION, 1) if 'exif' in image.info else 1


def require_whole(image: Image.Image, path: str, full: bool) -> None:
    """Raise almost anything where an opened image is damaged or cannot be loaded by OpenCV.

    Args:
        image: The image.
        path: Its file.
        full: Decode it; else its head and its tail must do.
    """
    common = image.format in ('JPEG', 'MPO', 'PNG')
    if not common and not cv2.haveImageReader(path):
        raise ValueError(f'OpenCV does not read {image.format}')
    ended = not common or _has_end(path)
    if not ended and image.format != 'PNG':
        raise ValueError('cut off, without the end marker')
    if full and image.format == 'PNG':
        require_intact(Path(path).read_bytes())
    if image.mode in ('F', 'I'):
        loaded = cv2.imread(path, cv2.IMREAD_COLOR)
        if loaded is None or loaded.dtype != 'uint8':
            raise ValueError('OpenCV loads no 8-bit colours of it for training: save it in 8 bits')
    if full or not ended:
        # a coarse JPEG still reads the whole stream
        image.draft('RGB', (1, 1))
        image.load()


def reason_of(error: Exception, path: str) -> str:
    """What a library says of a damaged file, in short."""
    return ' '.join(str(error).replace(path, 'it').split())[:120] or type(error).__name__


@contextmanager
def any_size() -> Iterator[None]:
    """Let Pillow open pictures of any size, which it refuses as attacks, and silence its warnings of unusual tags."""
    limit, Image.MAX_IMAGE_PIXELS = Image.MAX_IMAGE_PIXELS, None
    try:
        with warnings.catch_warnings():
            warnings.simplefilter('ignore')
            yield
    finally:
        Image.MAX_IMAGE_PIXELS = limit


def read_header(path: Path) -> Header | None:
    """What Pillow says of a JPEG, PNG or TIFF file; None for another format, or nothing that Pillow can open.

    Raises:
        SagaError: It is larger than its format's library reads.
    """
    try:
        with open_picture(path) as image:
            kind = 'JPEG' if image.format == 'MPO' else image.format
            if kind not in ('JPEG', 'PNG', 'TIFF') or not image.tile:
                return None
            if max(image.size) > LONGEST.get(kind, max(image.size)):
                size = f'{image.width} x {image.height}'
                raise SagaError(f'{path}: is {size} pixels; {kind} is read up to {LONGEST[kind]:,} a side. Cut it up.')
            stored = image.tile[0].args
            # the method of a PNG file would decode it, to look behind its pixels
            orientation = Image.Image.getexif(image).get(ExifTags.Base.Orientation, 1)
            return Header(
                format=kind,
                mode=image.mode,
                stored=stored if isinstance(stored, str) else stored[0],
                orientation=orientation if orientation in range(1, 9) else 1,
                buffered=bool(image.info.get('progressive') or image.info.get('interlace')),
            )
    except (OSError, SyntaxError, ValueError, EOFError):
        # bands without a meaning, as GDAL writes them by default, are no picture to Pillow
        file = open_tiff(path)
        if file is None:
            return None
        orientation = file.spec().get_int_attribute('Orientation', 1)
        return Header('TIFF', BANDS, '', orientation if orientation in range(1, 9) else 1, False)


def _has_end(path: str) -> bool:
    """Whether a JPEG or PNG file has its end marker: in the last bytes, or for JPEG anywhere after the headers."""
    with open(path, 'rb') as file:
        start = file.read(2)
        file.seek(-min(64, os.path.getsize(path)), os.SEEK_END)
        tail = file.read()
        if start != b'\xff\xd8':
            return b'IEND' in tail
        if b'\xff\xd9' in tail:
            return True
        file.seek(2)
        # headers may hold a thumbnail with an end marker of its own
        while (marker := file.read(2)) not in (b'\xff\xda', b''):
            length = int.from_bytes(file.read(2), 'big')
            if marker[:1] != b'\xff' or length < 2:
                return False
            file.seek(length - 2, os.SEEK_CUR)
        return b'\xff\xd9' in file.read()
