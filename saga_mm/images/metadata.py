"""Adapt EXIF and ICC profiles to upright pixels, and insert them into JPEG, PNG and TIFF files."""

from __future__ import annotations

import shutil
import struct
import zlib
from collections.abc import Iterator
from typing import Any, BinaryIO

from PIL import ExifTags, Image
from PIL.TiffImagePlugin import ImageFileDirectory_v2

from .notes import DAMAGE, Notes, jpeg_segments, png_chunks, set_jfif_density, tiff_tags

# tags that describe the photograph and not the layout of its file; two of these hold directories
DIRECTORIES = (ExifTags.IFD.Exif, ExifTags.IFD.GPSInfo)
KEPT_TAGS = (270, 271, 272, 282, 283, 296, 305, 306, 315, 316, 18246, 33432, *range(40091, 40096), *DIRECTORIES)
PNG_HEAD = b'\x89PNG\r\n\x1a\n'
PNG_KEPT = (b'IHDR', b'PLTE', b'IDAT', b'IEND')
# most that a segment of a JPEG file holds beside its length
SEGMENT = 65_533
ICC_NAME = b'ICC_PROFILE\0'
EXIF_NAME = b'Exif\0\0'
# tags of a TIFF file that say how its pixels are laid out
LAYOUT = (*range(254, 260), 262, 266, 273, 274, 277, 278, 279, 284, 317, 320, *range(322, 326), 338, 339)
ICC_TAG = 34675
STRIP_OFFSETS, STRIP_SIZES = 273, 279
LONG8 = 16
# of the types of a directory's entries that hold offsets and sizes
LETTERS = {3: 'H', 4: 'I', LONG8: 'Q'}


def upright_exif(exif: bytes, size: tuple[int, int]) -> bytes:
    """EXIF with the orientation 1 and another size, its thumbnail cut loose; all else stays byte by byte.

    Makers' notes point to places in the block, so it is not written anew. What cannot be followed is left out.

    Args:
        exif: The block, beginning with its TIFF header.
        size: Width and height.
    """
    block = bytearray(exif)
    order = {b'II': '<', b'MM': '>'}.get(exif[:2])
    try:
        if order is None:
            return b''
        (start,) = struct.unpack_from(f'{order}I', block, 4)
        inner = _correct(block, order, start, {ExifTags.Base.Orientation: 1}).get(ExifTags.IFD.Exif)
        (count,) = struct.unpack_from(f'{order}H', block, start)
        struct.pack_into(f'{order}I', block, start + 2 + 12 * count, 0)
        if inner is not None:
            width, height = size
            sizes = {ExifTags.Base.ExifImageWidth: width, ExifTags.Base.ExifImageHeight: height}
            _correct(block, order, inner, sizes)
    except struct.error:
        return b''
    return bytes(block)


def _correct(block: bytearray, order: str, start: int, values: dict[int, int]) -> dict[int, int]:
    """Set values of a directory that are there, each one number; gives its tags with what their entries hold."""
    (count,) = struct.unpack_from(f'{order}H', block, start)
    held = {}
    for entry in range(start + 2, start + 2 + 12 * count, 12):
        tag, kind, _, value = struct.unpack_from(f'{order}2H2I', block, entry)
        held[tag] = value
        if tag in values:
            number = struct.pack(f'{order}{"H" if kind == 3 else "I"}', values[tag]).ljust(4, b'\0')
            struct.pack_into(f'{order}HI4s', block, entry + 2, 3 if kind == 3 else 4, 1, number)
    return held


def kept_tags(tags: Image.Exif) -> dict[int, Any]:
    """The tags that describe the photograph; directories are dicts."""
    kept = {tag: value for tag, value in tags.items() if tag in KEPT_TAGS and tag not in DIRECTORIES}
    for directory in DIRECTORIES:
        if inner := dict(tags.get_ifd(directory)):
            # it is an address in the file that was read
            inner.pop(ExifTags.IFD.Interop, None)
            kept[directory] = inner
    return kept


def kept_exif(tags: Image.Exif) -> bytes:
    """EXIF with the tags that describe the photograph, as ``upright_exif`` takes it; empty if there are none."""
    new = Image.Exif()
    for tag, value in kept_tags(tags).items():
        new[tag] = value
    if not len(new):
        return b''
    # set right with the rest
    new[ExifTags.Base.Orientation] = 0
    try:
        return new.tobytes().removeprefix(b'Exif\0\0')
    except DAMAGE:
        return b''


def copy_jpeg(source: BinaryIO, target: BinaryIO, exif: bytes, icc: bytes, notes: Notes) -> None:
    """Copy a JPEG file with this EXIF, this profile and these notes in place of its own.

    What is longer than the format can hold is left out.
    """
    segments = []
    if exif and len(EXIF_NAME + exif) <= SEGMENT:
        segments.append((0xE1, EXIF_NAME + exif))
    size = SEGMENT - len(ICC_NAME) - 2
    pieces = [icc[start : start + size] for start in range(0, len(icc), size)]
    segments += [(0xE2, ICC_NAME + bytes([i, len(pieces)]) + piece) for i, piece in enumerate(pieces, 1)]
    segments += jpeg_segments(notes)
    target.write(source.read(2))
    marker, length = struct.unpack('>2H', source.read(4))
    # the first segment may have to be the one of JFIF
    while 0xFFE0 <= marker <= 0xFFEF:
        data = source.read(length - 2)
        if marker in (0xFFE0, 0xFFEE):
            target.write(struct.pack('>2H', marker, length) + set_jfif_density(data, notes))
        marker, length = struct.unpack('>2H', source.read(4))
    for kind, data in segments:
        target.write(struct.pack('>2BH', 0xFF, kind, len(data) + 2) + data)
    target.write(struct.pack('>2H', marker, length))
    shutil.copyfileobj(source, target)


def copy_png(source: BinaryIO, target: BinaryIO, exif: bytes, icc: bytes, notes: Notes) -> None:
    """Copy a PNG file with this EXIF, this profile and these notes in place of all that it says beside its pixels.

    Raises:
        ValueError: The file is cut off or damaged.
    """
    target.write(source.read(len(PNG_HEAD)))
    kind = b''
    for kind, data in _png_chunks(source):
        if kind in PNG_KEPT:
            _write_chunk(target, kind, data)
        if kind == b'IHDR':
            if icc:
                _write_chunk(target, b'iCCP', b'ICC profile\0\0' + zlib.compress(icc))
            if exif:
                _write_chunk(target, b'eXIf', exif)
            for name, note in png_chunks(notes):
                # a profile and sRGB exclude each other
                if not (icc and name == b'sRGB'):
                    _write_chunk(target, name, note)
    if kind != b'IEND':
        raise ValueError('a PNG file without its end')


def _png_chunks(file: BinaryIO) -> Iterator[tuple[bytes, bytes]]:
    while head := file.read(8):
        length, kind = struct.unpack('>I4s', head)
        data = file.read(length)
        if file.read(4) != _checksum(kind, data):
            raise ValueError(f'a chunk {kind!r} of a PNG file with a wrong checksum')
        yield kind, data


def _write_chunk(file: BinaryIO, kind: bytes, data: bytes) -> None:
    file.write(struct.pack('>I4s', len(data), kind) + data + _checksum(kind, data))


def _checksum(kind: bytes, data: bytes) -> bytes:
    return struct.pack('>I', zlib.crc32(data, zlib.crc32(kind)))


def complete_tiff(file: BinaryIO, exif: bytes, icc: bytes, notes: Notes) -> None:
    """Give a little-endian TIFF file, open for reading and writing, a directory with this EXIF, profile and notes.

    The tags that lay out its pixels are taken over; of the rest nothing stays.

    Raises:
        ValueError: Pixels are missing from the file.
        struct.error: Its directory is.
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
    _require_strips(file, {_tag(one): one for one in entries}, address)
    kept = ImageFileDirectory_v2(head)
    tags = Image.Exif()
    tags.load(EXIF_NAME + exif if exif else b'')
    for tag, value in kept_tags(tags).items():
        kept[tag] = value
    for tag, (kind, value) in tiff_tags(notes).items():
        kept.tagtype[tag] = kind
        kept[tag] = value
    if icc:
        kept.tagtype[ICC_TAG] = 7
        kept[ICC_TAG] = icc
    # at the end of the file, where it may have any length; the old directory stays as bytes that nothing refers to
    end = file.seek(0, 2)
    # TIFF wants directories at even places
    end += file.write(bytes(end % 2))
    data = kept.tobytes(end)
    (count,) = struct.unpack_from(f'<{number}', data)
    for one in _split(data[struct.calcsize(number) :][: count * size], size):
        # Pillow calls the addresses of directories 32 bits long, however large the file
        entries.append(one[:2] + struct.pack('<H', LONG8) + one[4:] if big and _tag(one) in DIRECTORIES else one)
    file.write(data)
    file.write(struct.pack(f'<{number}', len(entries)) + b''.join(sorted(entries, key=_tag)) + bytes(8))
    file.seek(place)
    file.write(struct.pack(f'<{address}', end + len(data)))


def _require_strips(file: BinaryIO, entries: dict[int, bytes], address: str) -> None:
    """Raise where strips end beyond the file."""
    end = file.seek(0, 2)
    offsets, sizes = (_numbers(file, entries[tag], address) for tag in (STRIP_OFFSETS, STRIP_SIZES))
    if not offsets or max(map(sum, zip(offsets, sizes, strict=True))) > end:
        raise ValueError('a TIFF file that lacks strips')


def _numbers(file: BinaryIO, entry: bytes, address: str) -> tuple[int, ...]:
    """The values of an entry of a directory: in the entry where they fit, else where its address says."""
    _, kind, count = struct.unpack_from(f'<2H{address}', entry)
    form = f'<{count}{LETTERS[kind]}'
    length, room = struct.calcsize(form), struct.calcsize(address)
    if length <= room:
        return struct.unpack_from(form, entry, len(entry) - room)
    file.seek(struct.unpack(f'<{address}', entry[-room:])[0])
    return struct.unpack(form, file.read(length))


def _split(entries: bytes, size: int) -> list[bytes]:
    return [entries[start : start + size] for start in range(0, len(entries), size)]


def _tag(entry: bytes) -> int:
    return struct.unpack_from('<H', entry)[0]
