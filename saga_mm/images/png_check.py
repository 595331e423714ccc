"""Verify the checksums of PNG files, which not all decoders do."""

import struct
import zlib

SIGNATURE = b'\x89PNG\r\n\x1a\n'
# what the pixels depend on
CRITICAL = (b'IHDR', b'PLTE', b'IDAT', b'IEND')


def require_intact(content: bytes) -> None:
    """Refuse the bytes of a PNG file that were changed or cut; other files are not looked at.

    Raises:
        ValueError: A chunk does not have its checksum, or the last one is missing.
    """
    if not content.startswith(SIGNATURE):
        return
    view, place = memoryview(content), len(SIGNATURE)
    while place + 12 <= len(view):
        length, kind = struct.unpack_from('>I4s', view, place)
        end = place + 8 + length
        if end + 4 > len(view):
            break
        if kind in CRITICAL and zlib.crc32(view[place + 4 : end]) != int.from_bytes(view[end : end + 4], 'big'):
            raise ValueError(f'its {kind.decode()} part has another checksum than it says: bytes were changed')
        if kind == b'IEND':
            return
        place = end + 4
    raise ValueError('cut off, without its last part')
