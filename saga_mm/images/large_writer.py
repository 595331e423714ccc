"""Write PNG and TIFF files of any size row by row."""

from __future__ import annotations

import struct
import zlib
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import BinaryIO

import numpy as np

from saga_mm.errors import SagaError
from saga_mm.files import Draft, user_path, write_error

TILE = 256
# offsets of a plain TIFF file have 32 bits; its pixels may grow a little when they are compressed
PLAIN_TIFF = 0.98 * 2**32
# of zlib, for class maps and for colours
MAP_LEVEL, COLOUR_LEVEL = 6, 3


class RowWriter:
    """Writes a picture from top to bottom; the file appears when it is complete. A context manager.

    Left by an exception, or closed before the last row, it leaves nothing behind.
    """

    def __init__(self, path: Path, height: int, width: int, palette: np.ndarray | None) -> None:
        self.path, self.height, self.width, self.palette = path, height, width, palette
        self.shape = (width,) if palette is not None else (width, 3)
        # PNG has no room for so many colours beside the indices, and few programs read them in TIFF
        self.deep = palette is not None and len(palette) > 256
        self.dtype = np.dtype(np.uint16 if self.deep else np.uint8)
        self.done = 0
        self._file: BinaryIO | None = None
        self._draft = Draft(path)
        try:
            self._file = self._draft.temporary.open('wb')
            self._start()
        except OSError as error:
            raise self._failed(error) from error
        except BaseException:
            self.discard()
            raise

    def write(self, rows: np.ndarray) -> None:
        """Append rows: ``(n, width)`` indices into the palette, or ``(n, width, 3)`` RGB.

        All are uint8, but indices into more than 256 colours are uint16.

        Raises:
            SagaError: They cannot be written: the disk is full, for instance.
        """
        if rows.dtype != self.dtype or rows.shape[1:] != self.shape or self.done + len(rows) > self.height:
            left = (self.height - self.done, *self.shape)
            raise ValueError(f'rows {rows.dtype} {rows.shape} where {self.dtype} {left} are left to write')
        if self.palette is not None and rows.size and rows.max() >= len(self.palette):
            raise ValueError(f'index {rows.max()} into a palette of {len(self.palette)} colours')
        try:
            self._put(rows)
        except OSError as error:
            raise self._failed(error) from error
        self.done += len(rows)

    def close(self) -> None:
        """Complete the file.

        Raises:
            SagaError: It cannot be completed.
            ValueError: Rows are missing.
        """
        if self.done < self.height:
            self.discard()
            raise ValueError(f'{self.path}: closed after {self.done} of {self.height} rows')
        try:
            self._finish()
            self._file.close()
        except OSError as error:
            raise self._failed(error) from error
        self._draft.publish()

    def discard(self) -> None:
        """Stop, and remove what was written."""
        if self._file is not None:
            # closing writes what is still in a buffer, which a full disk refuses
            with suppress(OSError):
                self._file.close()
        self._draft.discard()

    def _start(self) -> None:
        raise NotImplementedError

    def _put(self, rows: np.ndarray) -> None:
        raise NotImplementedError

    def _finish(self) -> None:
        raise NotImplementedError

    def _failed(self, error: OSError) -> SagaError:
        self.discard()
        return write_error(self.path, error)

    def __enter__(self) -> RowWriter:
        return self

    def __exit__(self, kind: object, *error: object) -> None:
        if kind is None:
            self.close()
        else:
            self.discard()


def write_rows(
    path: str | Path, height: int, width: int, palette: Sequence[Sequence[int]] | np.ndarray | None = None
) -> RowWriter:
    """Open a picture to be written from top to bottom, of which only the rows at hand are in memory.

    Args:
        path: A ``.png`` file, or a ``.tif`` or ``.tiff`` file, which gets compressed tiles of 256 x 256 pixels and is a
            BigTIFF where it may exceed 4 GB.
        height: Rows.
        width: Columns.
        palette: RGB colours. The rows are then indices: of 8 bits in the file, which has the colours as well, or for
            more than 256 colours of 16 bits, without them. None for rows of RGB colours.

    Raises:
        SagaError: The name has another ending, or the file cannot be created.
    """
    path = user_path(path)
    kinds = {'.png': _PngWriter, '.tif': _TiffWriter, '.tiff': _TiffWriter}
    if path.suffix.lower() not in kinds:
        raise SagaError(f'{path}: large pictures are written as {", ".join(kinds)}; name it so')
    colours = None if palette is None else np.asarray(palette, np.uint8).reshape(-1, 3)
    if min(height, width) < 1 or (colours is not None and not 1 <= len(colours) <= 65536):
        raise ValueError(f'no picture of {height} x {width} pixels with a palette of {palette}')
    return kinds[path.suffix.lower()](path, height, width, colours)


class _PngWriter(RowWriter):
    def _start(self) -> None:
        indexed = self.palette is not None
        kind = 2 if not indexed else 0 if self.deep else 3
        self._packer = zlib.compressobj(MAP_LEVEL if indexed else COLOUR_LEVEL)
        self._above = np.zeros(self.shape, np.uint8)
        self._file.write(b'\x89PNG\r\n\x1a\n')
        self._chunk(b'IHDR', struct.pack('>2I5B', self.width, self.height, 8 * self.dtype.itemsize, kind, 0, 0, 0))
        if kind == 3:
            self._chunk(b'PLTE', self.palette.tobytes())

    def _put(self, rows: np.ndarray) -> None:
        # each row begins with the number of its filter: 0 as it is, 2 less the row above
        if self.palette is not None:
            lines = np.pad(np.ascontiguousarray(rows, self.dtype.newbyteorder('>')).view(np.uint8), ((0, 0), (1, 0)))
        else:
            less = rows - np.concatenate([self._above[None], rows[:-1]])
            lines = np.pad(less.reshape(len(rows), 3 * self.width), ((0, 0), (1, 0)), constant_values=2)
            self._above = rows[-1].copy() if len(rows) else self._above
        self._chunk(b'IDAT', self._packer.compress(lines))

    def _finish(self) -> None:
        self._chunk(b'IDAT', self._packer.flush())
        self._chunk(b'IEND', b'')

    def _chunk(self, kind: bytes, data: bytes) -> None:
        if data or kind == b'IEND':
            self._file.write(struct.pack('>I', len(data)) + kind + data)
            self._file.write(struct.pack('>I', zlib.crc32(data, zlib.crc32(kind))))


class _TiffWriter(RowWriter):
    def _start(self) -> None:
        across, down = -(-self.width // TILE), -(-self.height // TILE)
        self._tiles = np.zeros((TILE, across * TILE, *self.shape[1:]), self.dtype.newbyteorder('<'))
        self._filled = self._written = 0
        self._offsets, self._sizes = [0] * (across * down), [0] * (across * down)
        self._big = down * self._tiles.nbytes > PLAIN_TIFF
        self._file.write(self._head())

    def _put(self, rows: np.ndarray) -> None:
        while len(rows):
            taken = min(len(rows), TILE - self._filled)
            self._tiles[self._filled : self._filled + taken, : self.width] = rows[:taken]
            self._filled, rows = self._filled + taken, rows[taken:]
            if self._filled == TILE:
                self._put_tiles()

    def _put_tiles(self) -> None:
        for left in range(0, self._tiles.shape[1], TILE):
            tile = self._tiles[:, left : left + TILE]
            if self.palette is None:
                # each pixel less the one to its left
                tile = np.concatenate([tile[:, :1], tile[:, 1:] - tile[:, :-1]], axis=1)
            data = zlib.compress(tile.tobytes(), COLOUR_LEVEL if self.palette is None else MAP_LEVEL)
            self._offsets[self._written], self._sizes[self._written] = self._file.tell(), len(data)
            self._file.write(data)
            self._written += 1
        self._filled = 0

    def _finish(self) -> None:
        if self._filled:
            self._put_tiles()
        self._file.seek(0)
        self._file.write(self._head())

    def _head(self) -> bytes:
        """Header and directory, of the same length before the tiles are known and after.

        They stand at the start because some programs read no directory beyond 4 GB.
        """
        indexed = self.palette is not None
        # number of the tag, its type (H 16 bits, I 32 bits, Q 64 bits), its values
        tags: list[tuple[int, str, Sequence[int]]] = [
            (256, 'I', [self.width]),
            (257, 'I', [self.height]),
            (258, 'H', [8 * self.dtype.itemsize] if indexed else [8, 8, 8]),
            # zlib
            (259, 'H', [8]),
            (262, 'H', [2 if not indexed else 1 if self.deep else 3]),
            (277, 'H', [1 if indexed else 3]),
            (284, 'H', [1]),
            (317, 'H', [1 if indexed else 2]),
            (322, 'H', [TILE]),
            (323, 'H', [TILE]),
            (324, 'Q' if self._big else 'I', self._offsets),
            (325, 'I', self._sizes),
        ]
        if indexed and not self.deep:
            full = np.zeros((256, 3), np.uint16)
            full[: len(self.palette)] = self.palette
            tags.insert(-4, (320, 'H', (full * 257).T.ravel().tolist()))
        word, room = ('Q', 8) if self._big else ('I', 4)
        if self._big:
            head = struct.pack('<2s3H2Q', b'II', 43, 8, 0, 16, len(tags))
        else:
            head = struct.pack('<2sHIH', b'II', 42, 8, len(tags))
        far = len(head) + len(tags) * (4 + 2 * room) + room
        entries, longer = b'', b''
        for tag, letter, values in tags:
            data = struct.pack(f'<{len(values)}{letter}', *values)
            entries += struct.pack(f'<2H{word}', tag, {'H': 3, 'I': 4, 'Q': 16}[letter], len(values))
            if len(data) <= room:
                entries += data.ljust(room, b'\0')
            else:
                entries += struct.pack(f'<{word}', far + len(longer))
                longer += data + b'\0' * (len(data) % 2)
        return head + entries + bytes(room) + longer
