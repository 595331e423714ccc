"""Write photographs in the format of their source: depth, colours, transparency, metadata, quality."""

from __future__ import annotations

import io
import struct
from dataclasses import replace
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from PIL import Image

from saga_mm.errors import SagaError
from saga_mm.files import Draft, library_error, user_path
from saga_mm.images.headers import LONGEST, reason_of

from .kind import PhotoKind
from .large_writer import PLAIN_TIFF, RowWriter
from .metadata import EXIF_NAME, complete_tiff, copy_jpeg, copy_png
from .notes import too_long
from .pictures import WRITTEN, image_library
from .pipe import HAS_PIPES, Pipe

DEPTHS = {'PNG': (8, 16), 'TIFF': (8, 16, 32)}
WITH_ALPHA = ('PNG', 'TIFF', 'WEBP', 'AVIF', 'JPEG2000')
WITHOUT_GRAY = ('WEBP', 'AVIF')
SIDES = {**LONGEST, 'WEBP': 16_383, 'GIF': 65_535, 'AVIF': 65_535}
# bytes a pixel that Pillow takes to encode, beside the pixels, measured on 9 and 25 megapixels
ENCODING_BYTES = {'JPEG2000': 40, 'AVIF': 26, 'WEBP': 10, 'GIF': 13, 'BMP': 8, 'PPM': 8}
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
        path: As for ``write_photo``. The file appears when it is complete.
        photo: The source, open until the writer is closed.

    Raises:
        SagaError: The format is none that is written, or too small for the picture; the file cannot be written.
    """
    path = user_path(path)
    kind = photo.kind
    name = WRITTEN.get(path.suffix.lower()) if path.suffix else kind.format
    if name not in WRITTEN.values():
        raise SagaError(f'{path}: photographs are written as {", ".join(WRITTEN)}; name it so')
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

    @property
    def lost(self) -> str:
        """What of the source the file does not hold, in a few words; empty if it holds all."""
        source, lost = self.photo.kind, []
        if source.colours:
            lost.append(f'{source.colours} became RGB')
        bits = max(source.depth, source.bits)
        if bits > self.kind.depth:
            lost.append(f'{"floating point" if source.depth == 32 else f"{bits} bits"} became {self.kind.depth} bits')
        if source.alpha and not self.kind.alpha:
            lost.append('transparency was laid on white')
        lost += [f'{other} was left out' for other in source.notes.others]
        if self.kind.format == 'JPEG':
            lost += [f'{name} was left out, which is more than JPEG holds' for name in too_long(source.notes)]
        return '; '.join(lost)

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
            # after the scale: opacity is a share, whatever white is
            rows = np.concatenate([rows, alpha[..., None]], axis=2)
        if self.kind.depth == 32:
            return np.ascontiguousarray(rows)
        kind = np.uint8 if self.kind.depth == 8 else np.uint16
        return (rows * np.float32(np.iinfo(kind).max)).round().astype(kind)


class _StreamWriter(PhotoWriter):
    """By OpenImageIO, row by row, with metadata of ours in place of its own.

    TIFF gets another directory at its end. PNG is written to a second temporary file and copied. JPEG comes through a
    pipe and is copied as it comes, because libjpeg ends the whole process where it cannot write; on Windows, which has
    no such pipes, as PNG does.
    """

    names = ('JPEG', 'PNG', 'TIFF')

    def __init__(self, path: Path, photo: Source, kind: PhotoKind) -> None:
        self._library = image_library()
        self._output = self._library.ImageOutput.create(kind.format.lower())
        self._pipe: Pipe | None = None
        self._pixels: Draft | None = None
        super().__init__(path, photo, kind)

    def _start(self) -> None:
        library, kind = self._library, self.kind
        exif, icc, notes = kind.exif, kind.icc, kind.notes
        target = str(self._draft.temporary)
        if kind.format == 'JPEG' and HAS_PIPES:
            self._pipe = Pipe(lambda source: copy_jpeg(source, self._file, exif, icc, notes))
            target = self._pipe.path
        elif kind.format != 'TIFF':
            self._pixels = Draft(self.path)
            target = str(self._pixels.temporary)
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
        opened = self._output.open(target, spec)
        if self._pipe is not None:
            self._pipe.start()
        self._check(opened)

    def _put(self, rows: np.ndarray) -> None:
        written = self._output.write_scanlines(self.done, self.done + len(rows), 0, rows)
        # the library keeps some errors to itself until it is asked
        self._check(written and not self._output.has_error)

    def _finish(self) -> None:
        if self._pipe is not None:
            self._pipe.wait_until_empty()
        closed = self._output.close()
        if self._pipe is not None:
            self._pipe.join()
        self._check(closed)
        exif, icc, notes = self.kind.exif, self.kind.icc, self.kind.notes
        try:
            if self.kind.format == 'TIFF':
                with self._draft.temporary.open('r+b') as file:
                    complete_tiff(file, exif, icc, notes)
            elif self._pixels is not None:
                copy = copy_png if self.kind.format == 'PNG' else copy_jpeg
                with self._pixels.temporary.open('rb') as file:
                    copy(file, self._file, exif, icc, notes)
                self._pixels.discard()
        except (ValueError, struct.error) as error:
            raise library_error(self.path, 'the file was not written to its end') from error

    def discard(self) -> None:
        """Stop, and remove what was written."""
        if self._pipe is not None:
            self._pipe.divert()
            self._pipe.wait_until_empty()
        self._output.close()
        if self._pipe is not None:
            self._pipe.join()
        if self._pixels is not None:
            self._pixels.discard()
        super().discard()

    def _check(self, done: bool) -> None:
        if self._pipe is not None and self._pipe.error is not None:
            raise self._pipe.error
        if not done:
            raise library_error(self.path, reason_of(self._output.geterror(), str(self._draft.temporary)))


class _PillowWriter(PhotoWriter):
    def _start(self) -> None:
        # these formats are compressed as a whole
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
            if self.kind.notes.xmp:
                options['xmp'] = self.kind.notes.xmp
        if self.kind.format == 'GIF' and self.kind.notes.comment:
            options['comment'] = self.kind.notes.comment
        if self.kind.format == 'BMP' and self.kind.notes.dpi:
            options['dpi'] = self.kind.notes.dpi
        try:
            image = Image.fromarray(self._held.squeeze(2) if self.channels == 1 else self._held)
            encoded = io.BytesIO()
            image.save(encoded, self.kind.format, **options)
        except ValueError as error:
            raise OSError(reason_of(error, str(self.path))) from error
        self._file.write(encoded.getbuffer())
