"""Metadata beside EXIF and ICC profile: XMP, IPTC, comment, density, texts and georeference."""

from __future__ import annotations

import re
import struct
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, BinaryIO

from PIL import Image
from PIL.TiffImagePlugin import ImageFileDirectory_v2

from saga_mm.files import write_file

# what the libraries raise at damaged files
DAMAGE = (
    OSError,
    SyntaxError,
    ValueError,
    EOFError,
    TypeError,
    LookupError,
    ArithmeticError,
    RuntimeError,
    struct.error,
)
XMP_NAME = b'http://ns.adobe.com/xap/1.0/\0'
PHOTOSHOP_NAME = b'Photoshop 3.0\0'
# in XMP of Google's cameras and others
OF_VIDEO = rb'GCamera:(?:MotionPhoto|MicroVideo)\s*=\s*'
# what a JPEG segment and a PNG text may hold of one kind
LARGEST = 2**24
SEGMENT = 65_533
PNG_NOTES = (b'tEXt', b'zTXt', b'iTXt', b'pHYs', b'gAMA', b'cHRM', b'sRGB', b'cICP')
PNG_XMP = b'XML:com.adobe.xmp'
XMP_TAG, PHOTOSHOP_TAG, IPTC_TAG = 700, 34377, 33723
# GeoTIFF 1.1 and GDAL's two, with their TIFF types: 2 text, 3 SHORT, 12 DOUBLE
GEO_TAGS = {33550: 12, 33922: 12, 34264: 12, 34735: 3, 34736: 12, 34737: 2, 42112: 2, 42113: 2}
SCALE, TIEPOINT, TRANSFORMATION, GEO_KEYS = 33550, 33922, 34264, 34735
RASTER_TYPE, PIXEL_IS_POINT = 1025, 2
# endings of world files, by that of the picture
WORLD_FILES = {'.png': '.pgw', '.jpg': '.jgw', '.jpeg': '.jgw', '.tif': '.tfw', '.tiff': '.tfw'}


@dataclass(frozen=True)
class Notes:
    """What a file says.

    Attributes:
        xmp: XMP packet, its orientation 1.
        photoshop: Image resources of Photoshop, of which IPTC is one.
        comment: Of a JPEG or GIF file.
        dpi: Pixels an inch, in width and in height.
        chunks: Texts of a PNG file and what its colours mean, as kind and data.
        geo: Tags that say where a map lies, by number.
        others: What is in the file beside its picture and is not kept, such as a second picture.
    """

    xmp: bytes = b''
    photoshop: bytes = b''
    comment: bytes = b''
    dpi: tuple[float, float] | None = None
    chunks: tuple[tuple[bytes, bytes], ...] = ()
    geo: dict[int, Any] = field(default_factory=dict)
    others: tuple[str, ...] = ()


def read_notes(path: Path, image: Image.Image) -> Notes:
    """The notes of an opened image, read from its file without decoding it."""
    facts: dict[str, Any] = {'dpi': _density(image.info.get('dpi'))}
    if image.format == 'PNG':
        chunks = list(_png_notes(path))
        facts['chunks'] = tuple(one for one in chunks if one[0] != b'pHYs' and not one[1].startswith(PNG_XMP))
        # the data of an uncompressed iTXt: keyword, 0, flag, method, language, 0, translated keyword, 0, text
        packets = [data for kind, data in chunks if kind == b'iTXt' and data.startswith(PNG_XMP + bytes(2))]
        xmp = packets[0].split(b'\0', 5)[-1] if packets else b''
    elif image.format == 'TIFF':
        tags = image.tag_v2
        xmp, facts['photoshop'] = (_bytes(tags.get(tag)) for tag in (XMP_TAG, PHOTOSHOP_TAG))
        if not facts['photoshop'] and IPTC_TAG in tags:
            facts['photoshop'] = _resource(_bytes(tags[IPTC_TAG]))
        facts['geo'] = read_geo(path)
    else:
        xmp = _bytes(image.info.get('xmp'))
        facts['comment'] = _bytes(image.info.get('comment'))
        segments = [data for _, data in getattr(image, 'applist', ()) if data.startswith(PHOTOSHOP_NAME)]
        facts['photoshop'] = b''.join(data.removeprefix(PHOTOSHOP_NAME) for data in segments)
        facts['others'] = tuple(_others(image, xmp))
    return Notes(xmp=alone_xmp(upright_xmp(xmp)), **facts)


def _others(image: Image.Image, xmp: bytes) -> Iterator[str]:
    """What cameras put behind a picture in its file."""
    if b'hdrgm:Version' in xmp:
        yield 'its HDR gain map'
    elif image.format == 'MPO':
        yield 'a further picture (a preview, depth or a gain map)'
    if b'HasExtendedXMP' in xmp:
        yield 'the second part of its XMP'
    if re.search(OF_VIDEO + rb'["\']1', xmp):
        yield 'its video (a motion photo)'


def alone_xmp(xmp: bytes) -> bytes:
    """A packet that does not promise a video or a gain map, which are not written; as long as before."""
    return re.sub(rb'(' + OF_VIDEO + rb'["\'])1', rb'\g<1>0', xmp).replace(b'hdrgm:Version', b'hdrgm:Removed')


def read_geo(path: Path) -> dict[int, Any]:
    """The tags of a TIFF file that say where a map lies; none of another file, or of one that cannot be read."""
    try:
        with path.open('rb') as file:
            head = file.read(8)
            if head[:4] not in (b'II*\0', b'MM\0*', b'II+\0', b'MM\0+'):
                return {}
            tags = ImageFileDirectory_v2(head + file.read(8) if head[2:3] in b'+\0' and 43 in head[2:4] else head)
            file.seek(tags.next)
            tags.load(file)
            return {tag: tags[tag] for tag in GEO_TAGS if tag in tags}
    except DAMAGE:
        return {}


def upright_xmp(xmp: bytes) -> bytes:
    """A packet whose orientation, if it has one, is 1; as long as before."""
    attribute = rb'(tiff:Orientation\s*=\s*["\'])[1-8](["\'])'
    element = rb'(<tiff:Orientation>\s*)[1-8](\s*</tiff:Orientation>)'
    return re.sub(element, rb'\g<1>1\g<2>', re.sub(attribute, rb'\g<1>1\g<2>', xmp))


def jpeg_segments(notes: Notes) -> list[tuple[int, bytes]]:
    """Markers and data of the segments of a JPEG file that hold notes; what is longer than a segment is left out."""
    parts = [(0xE1, XMP_NAME + notes.xmp)] if notes.xmp else []
    parts += [(0xED, PHOTOSHOP_NAME + notes.photoshop)] if notes.photoshop else []
    parts += [(0xFE, notes.comment)] if notes.comment else []
    return [(marker, data) for marker, data in parts if len(data) <= SEGMENT]


def too_long(notes: Notes) -> list[str]:
    """What does not fit into a segment of a JPEG file."""
    sizes = {'XMP': len(XMP_NAME + notes.xmp), 'IPTC': len(PHOTOSHOP_NAME + notes.photoshop)}
    sizes['the comment'] = len(notes.comment)
    return [name for name, size in sizes.items() if size > SEGMENT]


def set_jfif_density(data: bytes, notes: Notes) -> bytes:
    """The data of a JFIF segment with the density of a picture."""
    if notes.dpi is None or not data.startswith(b'JFIF\0') or len(data) < 12:
        return data
    # after name and version: the unit, 1 for an inch, and two densities; behind them the size of a thumbnail
    return data[:7] + struct.pack('>B2H', 1, *(min(max(round(side), 1), 65_535) for side in notes.dpi)) + data[12:]


def png_chunks(notes: Notes) -> list[tuple[bytes, bytes]]:
    """Chunks of a PNG file that hold notes, for after its header."""
    found = list(notes.chunks)
    if notes.dpi is not None:
        # PNG counts pixels to a metre
        found.insert(0, (b'pHYs', struct.pack('>2IB', *(round(side / 0.0254) for side in notes.dpi), 1)))
    if notes.comment:
        found.append((b'tEXt', b'Comment\0' + notes.comment.decode('utf-8', 'replace').encode('latin-1', 'replace')))
    if notes.xmp:
        found.append((b'iTXt', PNG_XMP + bytes(5) + notes.xmp))
    return found


def tiff_tags(notes: Notes) -> dict[int, tuple[int, Any]]:
    """TIFF type and value of the tags that hold notes, by tag."""
    found: dict[int, tuple[int, Any]] = {tag: (GEO_TAGS[tag], value) for tag, value in notes.geo.items()}
    found |= {XMP_TAG: (1, notes.xmp)} if notes.xmp else {}
    found |= {PHOTOSHOP_TAG: (1, notes.photoshop)} if notes.photoshop else {}
    return found


def write_world_file(picture: Path, geo: dict[int, Any]) -> Path | None:
    """Write where a map lies beside its picture, in six lines; None where the tags do not say it.

    Args:
        picture: The picture's file.
        geo: As in :class:`Notes`.
    """
    place = world_transform(geo)
    if place is None or picture.suffix.lower() not in WORLD_FILES:
        return None
    target = picture.with_suffix(WORLD_FILES[picture.suffix.lower()])
    write_file(target, ''.join(f'{value!r}\n' for value in place))
    return target


def world_transform(geo: dict[int, Any]) -> tuple[float, ...] | None:
    """The six numbers of a world file: steps in x and y of a column, of a row, and the centre of the first pixel."""
    keys = tuple(geo.get(GEO_KEYS) or ())
    entries = {keys[i]: keys[i + 3] for i in range(4, len(keys) - 3, 4)}
    # a world file names the centre of the first pixel, GeoTIFF its corner unless its pixels are points
    half = 0.0 if entries.get(RASTER_TYPE) == PIXEL_IS_POINT else 0.5
    if len(matrix := geo.get(TRANSFORMATION) or ()) == 16:
        a, b, c, d, e, f = matrix[0], matrix[1], matrix[3], matrix[4], matrix[5], matrix[7]
    elif len(scale := geo.get(SCALE) or ()) >= 2 and len(tie := geo.get(TIEPOINT) or ()) == 6:
        a, b, d, e = scale[0], 0.0, 0.0, -scale[1]
        c, f = tie[3] - tie[0] * a, tie[4] - tie[1] * e
    else:
        return None
    return tuple(map(float, (a, d, b, e, c + half * (a + b), f + half * (d + e))))


def _png_notes(path: Path) -> Iterator[tuple[bytes, bytes]]:
    with path.open('rb') as file:
        file.seek(8)
        while len(head := file.read(8)) == 8:
            length, kind = struct.unpack('>I4s', head)
            if kind in PNG_NOTES and length <= LARGEST:
                yield kind, _exactly(file, length)
                file.seek(4, 1)
            else:
                file.seek(length + 4, 1)


def _exactly(file: BinaryIO, length: int) -> bytes:
    data = file.read(length)
    if len(data) < length:
        raise EOFError('the file ends in a text')
    return data


def _resource(iptc: bytes) -> bytes:
    """IPTC as the resource of Photoshop that holds it."""
    return b'8BIM' + struct.pack('>H', 0x0404) + b'\0\0' + struct.pack('>I', len(iptc)) + iptc + b'\0' * (len(iptc) % 2)


def _density(dpi: Any) -> tuple[float, float] | None:
    try:
        width, height = (float(side) for side in dpi)
    except (TypeError, ValueError, ZeroDivisionError):
        return None
    return (width, height) if 0 < width < 1e6 and 0 < height < 1e6 else None


def _bytes(value: Any) -> bytes:
    """Bytes of a tag, which Pillow gives as bytes, text or numbers."""
    if isinstance(value, str):
        return value.encode()
    try:
        return bytes(value or b'')[:LARGEST]
    except (TypeError, ValueError):
        return b''
