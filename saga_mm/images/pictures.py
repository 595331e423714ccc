"""Find pictures in a folder, and read pictures of any kind."""

from __future__ import annotations

import logging
import os
import tempfile
from pathlib import Path
from types import ModuleType
from typing import Any, BinaryIO

import cv2
import numpy as np
from PIL import Image, ImageOps, UnidentifiedImageError

from saga_mm.errors import SagaError

from .content import PICTURE, VIDEO, kind_of_content

# Pillow reports odd TIFF tags here, which its exceptions say again where they matter
logging.getLogger('PIL').addHandler(logging.NullHandler())

# what a picture may be, by Pillow's names
FORMATS = (
    *('JPEG', 'MPO', 'PNG', 'TIFF', 'WEBP', 'AVIF', 'GIF', 'BMP', 'DIB', 'PPM', 'JPEG2000'),
    *('ICO', 'PCX', 'PSD', 'SGI', 'TGA'),
)


def open_picture(file: str | os.PathLike[str] | BinaryIO) -> Image.Image:
    """Open a picture by Pillow, without decoding it, as one of :data:`FORMATS`.

    Pillow also opens PostScript, and has Ghostscript run it, whatever the file is called.

    Raises:
        UnidentifiedImageError: The file is none of these.
    """
    Image.init()
    return Image.open(file, formats=[name for name in FORMATS if name in Image.OPEN])


def refuse_programs() -> None:
    """Keep Pillow from running PostScript, wherever in this process, and in those forked from it, a file is opened."""
    Image.init()
    Image.OPEN.pop('EPS', None)
    if 'EPS' in Image.ID:
        Image.ID.remove('EPS')


# format that is written for an ending, the usual ending of each format first
WRITTEN = {
    **dict.fromkeys(('.jpg', '.jpeg', '.jpe', '.jfif'), 'JPEG'),
    **dict.fromkeys(('.tif', '.tiff'), 'TIFF'),
    **dict.fromkeys(('.ppm', '.pgm', '.pbm', '.pnm'), 'PPM'),
    **{f'.{name}': name.upper() for name in ('png', 'webp', 'avif', 'bmp', 'gif')},
    '.jp2': 'JPEG2000',
}


# colours of TIFF files: LogL and LogLuv
LOGARITHMIC = (32844, 32845)
# bytes a pixel at the peak of decoding by Pillow and conversion, measured on 9 and 25 megapixels
DECODING_BYTES = {'JPEG2000': 20, 'AVIF': 21, 'WEBP': 26, 'GIF': 12}
OTHER_DECODING_BYTES = 18


def read_picture(path: str | Path) -> np.ndarray:
    """A picture as ``(H, W, 3)`` uint8 RGB, upright.

    Grey, 16-bit, palette, CMYK and transparent pictures are converted as training data are: 16 bits keep their upper
    half, transparency is dropped. Of animations and several pages, the first.

    Raises:
        SagaError: The file is no picture, or a damaged one.
    """
    try:
        with open_picture(path) as image:
            return rgb_of_pillow(image)
    except UnidentifiedImageError:
        if Path(path).stat().st_size == 0:
            raise SagaError(f'{path}: is empty (0 bytes)') from None
        file = open_tiff(path)
        return _read_with_cv2(path) if file is None else _read_bands(path, file)
    except (OSError, SyntaxError, ValueError, EOFError, Image.DecompressionBombError) as error:
        # Pillow opens some files of planes, and then does not decode them
        if isinstance(error, ValueError) and (file := open_tiff(path)) is not None:
            return _read_bands(path, file)
        raise SagaError(f'{path}: cannot be read as a picture ({error})') from error


def rgb_of_pillow(image: Image.Image) -> np.ndarray:
    """A picture of Pillow's as :func:`read_picture` gives it."""
    upright = ImageOps.exif_transpose(image)
    if upright.mode == 'I;16' and image.format != 'TIFF':
        # as OpenCV reads these files for training
        return np.repeat((np.asarray(upright) >> 8).astype(np.uint8)[..., None], 3, axis=2)
    if upright.mode.startswith(('I', 'F')):
        return from_deep(np.asarray(upright))
    return np.array(upright.convert('RGB'))


def highest_of(values: np.ndarray) -> float:
    """The highest of values that are finite."""
    return float(values.max(initial=0, where=np.isfinite(values)))


def from_deep(values: np.ndarray, highest: float | None = None) -> np.ndarray:
    """Grey values ``(H, W)`` of more than 8 bits as 8-bit RGB.

    Args:
        values: Floating point of up to 1 is brightness from 0 to 1; other values from 0 to 255 are kept, up to 65535
            they are those of 16 bits, and above that the highest becomes 255.
        highest: That of the whole picture; None for that of the values.
    """
    highest = highest_of(values) if highest is None else highest
    scale = 1.0
    if values.dtype.kind == 'f' and highest <= 1:
        scale = 255
    elif highest > 65535:
        scale = 255 / highest
    elif highest > 255:
        scale = 1 / 257
    values = np.nan_to_num(values.astype(np.float64), nan=0, posinf=highest, neginf=0).clip(0, highest) * scale
    return np.repeat(values.round().astype(np.uint8)[..., None], 3, axis=2)


def image_library() -> ModuleType:
    """OpenImageIO.

    Raises:
        SagaError: It is not installed.
    """
    try:
        import OpenImageIO
    except ImportError as error:
        raise SagaError(f'Large pictures are read with OpenImageIO: pip install openimageio ({error})') from error
    # by default it refuses what is larger than the memory
    OpenImageIO.attribute('limits:imagesize_MB', 0)
    return OpenImageIO


_links: list[tempfile.TemporaryDirectory] = []


def library_name(path: str | os.PathLike[str]) -> str:
    """A name of a file for OpenImageIO, which takes UTF-8 alone: of a file with another name, that of a link to it."""
    name = str(path)
    try:
        name.encode('utf-8')
        return name
    except UnicodeEncodeError:
        # the link is there as long as the process, because files are opened again
        if not _links:
            _links.append(tempfile.TemporaryDirectory(prefix='saga_mm-'))
        ending = Path(name).suffix if Path(name).suffix.isascii() else ''
        link = Path(_links[0].name, f'{len(os.listdir(_links[0].name))}{ending}')
        link.symlink_to(os.path.abspath(path))
        return str(link)


def open_tiff(path: str | Path) -> Any:
    """A TIFF file opened by OpenImageIO, transparency apart from colours; None for other files.

    Raises:
        SagaError: Its colours are logarithms of brightness.
    """
    try:
        with open(path, 'rb') as file:
            if file.read(4) not in (b'II*\0', b'MM\0*', b'II+\0', b'MM\0+'):
                return None
    except OSError:
        return None
    library = image_library()
    settings = library.ImageSpec()
    settings.attribute('oiio:UnassociatedAlpha', 1)
    source = library.ImageInput.open(library_name(path), settings)
    if source is None:
        # OpenImageIO prints pending errors at exit
        library.geterror()
    elif source.spec().get_int_attribute('tiff:PhotometricInterpretation') in LOGARITHMIC:
        raise SagaError(
            f'{path}: holds floating point as LogLuv, as OpenCV writes it, which is read in 8 bits; save it without: '
            'cv2.imwrite(path, image, [cv2.IMWRITE_TIFF_COMPRESSION, 1])'
        )
    return source


def _read_bands(path: str | Path, file: Any) -> np.ndarray:
    """The first three bands of a TIFF file that Pillow does not open, or its only one, as 8-bit RGB.

    16 bits keep their upper half; other types are those of :func:`from_deep`.
    """
    samples = file.read_image(file.spec().format)
    if samples is None:
        raise SagaError(f'{path}: is damaged or cut off ({" ".join(file.geterror().split())[:120]})')
    samples = np.asarray(samples).reshape(file.spec().height, file.spec().width, -1)
    orientation = file.spec().get_int_attribute('Orientation', 1)
    samples = samples[..., :3] if samples.shape[2] > 2 else samples[..., :1]
    if samples.shape[2] == 1:
        return upright(
            from_deep(samples[..., 0]) if samples.dtype != np.uint8 else samples.repeat(3, axis=2), orientation
        )
    if samples.dtype == np.uint16:
        samples = (samples >> 8).astype(np.uint8)
    elif samples.dtype != np.uint8:
        highest = highest_of(samples)
        samples = np.stack([from_deep(samples[..., band], highest)[..., 0] for band in range(3)], axis=2)
    return np.ascontiguousarray(upright(samples, orientation))


def upright(samples: np.ndarray, orientation: int) -> np.ndarray:
    """A view of samples ``(H, W, ...)`` as the orientation of EXIF says that they are to be seen."""
    return {
        2: samples[:, ::-1],
        3: samples[::-1, ::-1],
        4: samples[::-1],
        5: samples.swapaxes(0, 1),
        6: np.rot90(samples, -1),
        7: samples[::-1, ::-1].swapaxes(0, 1),
        8: np.rot90(samples),
    }.get(orientation, samples)


def _read_with_cv2(path: str | Path) -> np.ndarray:
    """For what neither Pillow nor OpenImageIO knows."""
    try:
        if (kind := kind_of_content(path)) not in (PICTURE, VIDEO, ''):
            raise SagaError(f'{path}: is {kind}')
        picture = cv2.imdecode(np.fromfile(path, np.uint8), cv2.IMREAD_COLOR)
    except (OSError, cv2.error) as error:
        raise SagaError(f'{path}: cannot be read as a picture ({error})') from error
    if picture is None:
        raise SagaError(f'{path}: is not a picture, or a damaged one')
    return picture[..., ::-1].copy()
