"""Whether a video file breaks off: every kind says somewhere how many bytes it, or its last part, should have."""

from __future__ import annotations

import os
import struct
from pathlib import Path
from typing import BinaryIO

# bytes at the end of an MPEG file in which its last packets are looked for
TAIL = 2**18
TS_SYNC = 0x47
# a packet of a transport stream, and one of a camera with the time before it
TS_PACKETS = ((188, 0), (192, 4))
ASF_HEADER = bytes.fromhex('3026b2758e66cf11a6d900aa0062ce6c')
ASF_FILE = bytes.fromhex('a1dcab8c47a9cf118ee400c00c205365')
EBML, SEGMENT = b'\x1a\x45\xdf\xa3', b'\x18\x53\x80\x67'
# boxes that stand for themselves in a file
BOXES = frozenset(
    (b'ftyp moov mdat wide free skip moof mfra sidx ssix styp pdin meta uuid udta emsg prft pnot PICT').split()
)
PACK, END = b'\x00\x00\x01\xba', b'\x00\x00\x01\xb9'


def breaks_off(path: str | Path) -> bool:
    """Whether a video file is shorter than it says. False where its kind, or this file, does not say."""
    with Path(path).open('rb') as file:
        size = os.fstat(file.fileno()).st_size
        head = file.read(16)
        file.seek(0)
        if head[4:8] in BOXES:
            return _boxes(file, size)
        if head[:4] == EBML:
            return _matroska(file, size)
        if head[:4] == b'RIFF':
            return _riff(file, size)
        if head[:16] == ASF_HEADER:
            return _asf(file, size)
        if head[:3] == b'FLV':
            return _flash(file, size)
        if head[:4] == PACK:
            return _program_stream(file, size)
        for length, before in TS_PACKETS:
            if head[before : before + 1] == bytes([TS_SYNC]) and _at(file, before + length, 1) == bytes([TS_SYNC]):
                return bool(size % length)
    return False


def _at(file: BinaryIO, place: int, count: int) -> bytes:
    file.seek(place)
    return file.read(count)


def _boxes(file: BinaryIO, size: int) -> bool:
    """MP4, MOV, 3GP: boxes, each with its size before its name; 0 for all that is left, 1 for a longer number."""
    place = 0
    while place < size:
        head = _at(file, place, 16)
        if len(head) < 8:
            return True
        length, name = struct.unpack('>I4s', head[:8])
        if length == 1:
            if len(head) < 16:
                return True
            (length,) = struct.unpack('>Q', head[8:])
        if length == 0 or length < 8 or name not in BOXES:
            # to the end, or what other programs append
            return False
        place += length
    return place > size


def _matroska(file: BinaryIO, size: int) -> bool:
    """MKV and WebM: a head and a segment, each with its size; all ones where the size was not known."""
    place = 0
    for name in (EBML, SEGMENT):
        head = _at(file, place, 12)
        width = 9 - head[4].bit_length() if len(head) == 12 and head[4] else 0
        if head[:4] != name or not 1 <= width <= 8:
            return False
        length = int.from_bytes(head[4 : 4 + width], 'big') & (1 << 7 * width) - 1
        if length == (1 << 7 * width) - 1:
            return False
        place += 4 + width + length
    return place > size


def _riff(file: BinaryIO, size: int) -> bool:
    """AVI: one list, or several of a large file."""
    place = 0
    while place + 8 <= size:
        name, length = struct.unpack('<4sI', _at(file, place, 8))
        if name != b'RIFF' or not length:
            return False
        place += 8 + length + length % 2
    # the last byte may be the one that makes it even
    return place > size + 1


def _asf(file: BinaryIO, size: int) -> bool:
    """WMV: a property of the file says its size; 0 of a stream."""
    (length,) = struct.unpack('<Q', _at(file, 16, 8))
    head = _at(file, 0, min(length, TAIL))
    place = head.find(ASF_FILE)
    if place < 0 or len(head) < place + 48:
        return len(head) < min(length, TAIL)
    (stated,) = struct.unpack('<Q', head[place + 40 : place + 48])
    return stated > size


def _flash(file: BinaryIO, size: int) -> bool:
    """FLV: the last four bytes are the size of the tag before them, which has the size of its data in itself."""
    if size < 9 + 4 + 11 + 4:
        return True
    (length,) = struct.unpack('>I', _at(file, size - 4, 4))
    if not 11 <= length <= size - 17:
        return True
    tag = _at(file, size - 4 - length, 4)
    return tag[0] & 0x1F not in (8, 9, 18) or int.from_bytes(tag[1:4], 'big') + 11 != length


def _program_stream(file: BinaryIO, size: int) -> bool:
    """MPEG: packets from the last pack on, each with its length, and perhaps a code for the end."""
    begin = max(size - TAIL, 0)
    tail = _at(file, begin, TAIL)
    place = tail.rfind(PACK)
    if place < 0:
        return False
    # of MPEG-2 the pack says how many bytes are stuffed after it, of MPEG-1 it has twelve
    if len(tail) < place + 14:
        return True
    place += 14 + (tail[place + 13] & 7) if tail[place + 4] >> 6 == 1 else 12
    while place < len(tail):
        head = tail[place : place + 6]
        if head[:4] == END or not head.strip(b'\0'):
            return False
        if len(head) < 6:
            return True
        if head[:3] != b'\0\0\1':
            return False
        place += 6 + int.from_bytes(head[4:6], 'big')
    return place > len(tail)
