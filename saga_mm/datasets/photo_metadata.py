"""EXIF and ICC profiles put into JPEG, PNG and TIFF files that hold nothing but pixels."""

from __future__ import annotations

import shutil
import struct
import zlib
from collections.abc import Iterator
from typing import BinaryIO

from PIL import Image
from PIL.TiffImagePlugin import ImageFileDirectory_v2

from .photo_kind import DIRECTORIES, told_tags

PNG_HEAD = b'\x89PNG\r\n\x1a\n'
PNG_KEPT = (b'IHDR', b'PLTE', b'IDAT', b'IEND')
# most that a segment of a JPEG file holds beside its length
SEGMENT = 65_533
ICC_NAME = b'ICC_PROFILE\0'
EXIF_NAME = b'Exif\0\0'
# tags of a TIFF file that say how its pixels are laid out
LAYOUT = (*range(254, 260), 262, 266, 273, 274, 277, 278, 279, 284, 317, 320, *range(322, 326), 338, 339)
ICC_TAG = 34675
LONG8 = 16


def copy_jpeg(source: BinaryIO, target: BinaryIO, exif: bytes, icc: bytes) -> None:
    """Copy a JPEG file with this EXIF and this profile in place of its own.

    EXIF that is longer than the format can hold is left out.
    """
    segments = []
    if exif and len(EXIF_NAME + exif) <= SEGMENT:
        segments.append((0xE1, EXIF_NAME + exif))
    size = SEGMENT - len(ICC_NAME) - 2
    pieces = [icc[start : start + size] for start in range(0, len(icc), size)]
    segments += [(0xE2, ICC_NAME + bytes([i, len(pieces)]) + piece) for i, piece in enumerate(pieces, 1)]
    target.write(source.read(2))
    marker, length = struct.unpack('>2H', source.read(4))
    # the first segment may have to be the one of JFIF
    while 0xFFE0 <= marker <= 0xFFEF:
        data = source.read(length - 2)
        if marker in (0xFFE0, 0xFFEE):
            target.write(struct.pack('>2H', marker, length) + data)
        marker, length = struct.unpack('>2H', source.read(4))
    for kind, data in segments:
        target.write(struct.pack('>2BH', 0xFF, kind, len(data) + 2) + data)
    target.write(struct.pack('>2H', marker, length))
    shutil.copyfileobj(source, target)


def copy_png(source: BinaryIO, target: BinaryIO, exif: bytes, icc: bytes) -> None:
    """Copy a PNG file with this EXIF and this profile in place of all that it says beside its pixels."""
    target.write(source.read(len(PNG_HEAD)))
    for kind, data in _png_chunks(source):
        if kind in PNG_KEPT:
            _write_chunk(target, kind, data)
        if kind == b'IHDR':
            if icc:
                _write_chunk(target, b'iCCP', b'ICC profile\0\0' + zlib.compress(icc))
            if exif:
                _write_chunk(target, b'eXIf', exif)


def _png_chunks(file: BinaryIO) -> Iterator[tuple[bytes, bytes]]:
    while head := file.read(8):
        length, kind = struct.unpack('>I4s', head)
        yield kind, file.read(length)
        file.seek(4, 1)


def _write_chunk(file: BinaryIO, kind: bytes, data: bytes) -> None:
    file.write(struct.pack('>I4s', len(data), kind) + data + struct.pack('>I', zlib.crc32(data, zlib.crc32(kind))))


def complete_tiff(file: BinaryIO, exif: bytes, icc: bytes) -> None:
    """Give a little-endian TIFF file, open for reading and writing, a directory with this EXIF and this profile.

    The tags that lay out its pixels are taken over; of the rest nothing stays.
    """
    file.seek(0)
    head = file.read(8)
    big = head[2] == 43
    # letters of a directory's address and of the number of its entries, and the size of an entry
    address, number, size = ('Q', 'Q', 20) if big else ('I', 'H', 12)
    head += file.read(8) if big else b''
    place = 8 if big else 4
    file.seek(struct.unpack_from(f'<{address}', head, place)[0])
    (count,) = struct.unpack(f'<{number}', file.read(struct.calcsize(number)))
    entries = [one for one in _split(file.read(count * size), size) if _tag(one) in LAYOUT]
    told = ImageFileDirectory_v2(head)
    tags = Image.Exif()
    tags.load(EXIF_NAME + exif if exif else b'')
    for tag, value in told_tags(tags).items():
        told[tag] = value
    if icc:
        told.tagtype[ICC_TAG] = 7
        told[ICC_TAG] = icc
    end = file.seek(0, 2)
    end += file.write(bytes(end % 2))
    data = told.tobytes(end)
    (count,) = struct.unpack_from(f'<{number}', data)
    for one in _split(data[struct.calcsize(number) :][: count * size], size):
        # Pillow calls the addresses of directories 32 bits long, however large the file
        entries.append(one[:2] + struct.pack('<H', LONG8) + one[4:] if big and _tag(one) in DIRECTORIES else one)
    file.write(data)
    file.write(struct.pack(f'<{number}', len(entries)) + b''.join(sorted(entries, key=_tag)) + bytes(8))
    file.seek(place)
    file.write(struct.pack(f'<{address}', end + len(data)))


def _split(entries: bytes, size: int) -> list[bytes]:
    return [entries[start : start + size] for start in range(0, len(entries), size)]


def _tag(entry: bytes) -> int:
    return struct.unpack_from('<H', entry)[0]
