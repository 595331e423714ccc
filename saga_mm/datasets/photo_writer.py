"""Photographs written as the kind of file that they came from: depth, colours, transparency, EXIF, profile, quality."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from PIL import Image

from saga_mm.errors import SagaError

from .image_check import reason_of
from .large_image import LONGEST, image_library
from .large_image_writer import PLAIN_TIFF, RowWriter
from .photo_kind import PhotoKind
from .photo_metadata import EXIF_NAME, complete_tiff, copy_jpeg, copy_png

FORMATS = {
    **dict.fromkeys(('.jpg', '.jpeg', '.jpe', '.jfif'), 'JPEG'),
    **dict.fromkeys(('.tif', '.tiff'), 'TIFF'),
    **dict.fromkeys(('.ppm', '.pgm', '.pbm', '.pnm'), 'PPM'),
    **{f'.{name}': name.upper() for name in ('png', 'webp', 'avif', 'bmp', 'gif')},
    '.jp2': 'JPEG2000',
}
DEPTHS = {'PNG': (8, 16), 'TIFF': (8, 16, 32)}
WITH_ALPHA = ('PNG', 'TIFF', 'WEBP', 'AVIF', 'JPEG2000')
WITHOUT_GRAY = ('WEBP', 'AVIF')
SIDES = {**LONGEST, 'WEBP': 16_383, 'GIF': 65_535, 'AVIF': 65_535}
# of ITU-R BT.601, as in JPEG and in Pillow
LUMA = np.array([0.299, 0.587, 0.114], np.float32)
# of zlib: the default takes twice the time to save some 3 %
PNG_LEVEL = 4
STEP = 256


class Source(Protocol):
    """What a photograph came from: a ``Photo`` or ``PhotoRows``."""

    kind: PhotoKind

    def read_alpha(self, start: int, stop: int) -> np.ndarray | None:
        """Opacity of rows."""


def write_photo(path: str | Path, photo: Source, pixels: np.ndarray) -> None:
    """Write ``(H, W, 3)`` RGB in [0, 1] as a file of the kind that a photograph came from.

    Args:
        path: The file. Another ending than the source's asks for another format; without one, it has the source's.
        photo: The source: a ``Photo`` or ``PhotoRows``.
        pixels: Of the source's size.

    Raises:
        SagaError: As ``open_photo_writer``.
    """
    if pixels.shape != (photo.kind.height, photo.kind.width, 3):
        raise ValueError(f'pixels of {pixels.shape} for a photograph of {photo.kind.height} x {photo.kind.width}')
    with open_photo_writer(path, photo) as writer:
        for start in range(0, len(pixels), STEP):
            writer.write(pixels[start : start + STEP])


def open_photo_writer(path: str | Path, photo: Source) -> PhotoWriter:
    """Open a file of the kind that a photograph came from, to be written from top to bottom.

    JPEG, PNG and TIFF are written row by row; of other formats the pixels stay in memory, in 8 bits, until the end.
    Where the format cannot hold what the source has, it gets the nearest: 16 bits become 8, floating point becomes 16
    bits in PNG, transparency is laid on white.

    Args:
        path: As for ``write_photo``. It is a whole file or none: until then it has the name ``NAME.part``.
        photo: The source, open until the writer is closed.

    Raises:
        SagaError: The format is none that is written, or too small for the picture; the file cannot be written.
    """
    path = Path(path).expanduser()
    kind = photo.kind
    name = FORMATS.get(path.suffix.lower()) if path.suffix else kind.format
    if name not in FORMATS.values():
        raise SagaError(f'{path}: photographs are written as {", ".join(FORMATS)}; name it so')
    longest = max(kind.height, kind.width)
    if longest > SIDES.get(name, longest):
        size = f'{kind.width} x {kind.height}'
        raise SagaError(f'{path}: {size} pixels are too many for {name} ({SIDES[name]:,} a side); name it .png or .tif')
    depths = DEPTHS.get(name, (8,))
    alpha, gray = kind.alpha and name in WITH_ALPHA, kind.gray and name not in WITHOUT_GRAY
    # a profile of grey says nothing of colours
    icc = b'' if kind.icc[16:20] == b'GRAY' and not gray else kind.icc
    written = replace(kind, format=name, depth=min(kind.depth, depths[-1]), alpha=alpha, gray=gray, icc=icc)
    writer = _StreamWriter if name in _StreamWriter.names else _PillowWriter
    return writer(path, photo, written)


class PhotoWriter(RowWriter):
    """Writes a photograph from top to bottom. A context manager; left by an exception, it leaves nothing behind."""

    def __init__(self, path: Path, photo: Source, kind: PhotoKind) -> None:
        self.photo, self.kind = photo, kind
        self.channels = (1 if kind.gray else 3) + kind.alpha
        super().__init__(path, kind.height, kind.width, None)

    def write(self, rows: np.ndarray) -> None:
        """Append rows, ``(n, width, 3)`` RGB in [0, 1].

        Raises:
            SagaError: They cannot be written: the disk is full, for instance.
        """
        if rows.shape[1:] != self.shape or self.done + len(rows) > self.height:
            raise ValueError(f'rows {rows.shape} where {(self.height - self.done, *self.shape)} are left to write')
        try:
            self._put(self._samples(rows, self.photo.read_alpha(self.done, self.done + len(rows))))
        except OSError as error:
            raise self._failed(error) from error
        self.done += len(rows)

    def _samples(self, rows: np.ndarray, alpha: np.ndarray | None) -> np.ndarray:
        """As they are stored, ``(n, width, channels)``."""
        # what is no number becomes 0
        rows = np.minimum(np.fmax(rows.astype(np.float32, copy=False), 0), 1)
        if alpha is not None and not self.kind.alpha:
            rows = rows * alpha[..., None] + (1 - alpha[..., None])
        if self.kind.gray:
            rows = (rows @ LUMA)[..., None]
        if self.kind.depth == 32:
            rows = rows * np.float32(self.kind.scale)
        if self.kind.alpha:
            rows = np.concatenate([rows, alpha[..., None]], axis=2)
        if self.kind.depth == 32:
            return np.ascontiguousarray(rows)
        kind = np.uint8 if self.kind.depth == 8 else np.uint16
        return (rows * np.float32(np.iinfo(kind).max)).round().astype(kind)


class _StreamWriter(PhotoWriter):
    """By OpenImageIO; what it says beside the pixels is replaced at the end."""

    names = ('JPEG', 'PNG', 'TIFF')

    def __init__(self, path: Path, photo: Source, kind: PhotoKind) -> None:
        self._library = image_library()
        self._output = self._library.ImageOutput.create(kind.format.lower())
        # a directory can be added at the end of a TIFF file; the others are copied
        self._pixels = path.with_name(f'{path.name}.part' if kind.format == 'TIFF' else f'{path.name}.pixels.part')
        super().__init__(path, photo, kind)

    def _start(self) -> None:
        library, kind = self._library, self.kind
        tiff = kind.format == 'TIFF'
        sample = {8: library.UINT8, 16: library.UINT16, 32: library.FLOAT}[kind.depth]
        spec = library.ImageSpec(self.width, self.height, self.channels, sample)
        if kind.alpha:
            spec.alpha_channel = self.channels - 1
            spec.channelnames = ('Y', 'A') if kind.gray else ('R', 'G', 'B', 'A')
        settings: dict[str, Any] = {'oiio:UnassociatedAlpha': 1, 'png:compressionLevel': PNG_LEVEL}
        settings['jpeg:subsampling'] = kind.subsampling
        settings['compression'] = kind.compression if tiff else f'jpeg:{kind.quality}'
        settings['tiff:bigtiff'] = int(spec.image_bytes() > PLAIN_TIFF)
        for name, value in settings.items():
            spec.attribute(name, value)
        self._check(self._output.open(str(self._pixels), spec))

    def _put(self, rows: np.ndarray) -> None:
        self._check(self._output.write_scanlines(self.done, self.done + len(rows), 0, rows))

    def _finish(self) -> None:
        self._check(self._output.close())
        exif, icc = self.kind.exif, self.kind.icc
        if self.kind.format == 'TIFF':
            with self._pixels.open('r+b') as file:
                complete_tiff(file, exif, icc)
            return
        with self._pixels.open('rb') as file:
            (copy_jpeg if self.kind.format == 'JPEG' else copy_png)(file, self._file, exif, icc)
        self._pixels.unlink()

    def discard(self) -> None:
        """Stop, and remove what was written."""
        if self._file is not None:
            self._output.close()
            self._pixels.unlink(missing_ok=True)
        super().discard()

    def _check(self, done: bool) -> None:
        if not done:
            raise OSError(reason_of(self._output.geterror(), str(self._pixels)))


class _PillowWriter(PhotoWriter):
    def _start(self) -> None:
        self._held = np.empty((self.height, self.width, self.channels), np.uint8)

    def _put(self, rows: np.ndarray) -> None:
        self._held[self.done : self.done + len(rows)] = rows

    def _finish(self) -> None:
        options: dict[str, Any] = {}
        if self.kind.exif:
            options['exif'] = EXIF_NAME + self.kind.exif
        if self.kind.icc:
            options['icc_profile'] = self.kind.icc
        if self.kind.format in ('WEBP', 'AVIF'):
            options['quality'] = self.kind.quality
        try:
            image = Image.fromarray(self._held.squeeze(2) if self.channels == 1 else self._held)
            image.save(self._file, self.kind.format, **options)
        except ValueError as error:
            raise OSError(reason_of(error, str(self.path))) from error
