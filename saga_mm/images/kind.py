"""The format, depth and metadata of a photograph, read without decoding it, for writing the same kind."""

from __future__ import annotations

import io
from dataclasses import dataclass, field, replace
from functools import lru_cache
from pathlib import Path
from typing import Any

from PIL import ExifTags, Image, JpegImagePlugin, UnidentifiedImageError

from saga_mm.errors import SagaError
from saga_mm.images.headers import reason_of

from .content import PICTURE, VIDEO, kind_of_content
from .headers import any_size
from .metadata import DAMAGE, kept_exif, upright_exif
from .notes import Notes, read_geo, read_notes
from .pictures import open_picture, open_tiff

SAMPLINGS = {0: '4:4:4', 1: '4:2:2', 2: '4:2:0'}
GREY_MODES = ('1', 'L', 'LA', 'La', 'I', 'F', 'I;16', 'I;16B', 'I;16L', 'I;16N')
# modes that are converted to sRGB
CONVERTED = {'CMYK': 'CMYK', 'LAB': 'Lab'}
REDUCED_PAGE = 1
# bytes in which such a file says how deep it is
HEAD = 2**16


@dataclass(frozen=True)
class PhotoKind:
    """What has to be known of a photograph's file to write another one like it.

    Attributes:
        height: Rows, upright.
        width: Columns, upright.
        format: Pillow's name, such as ``JPEG``.
        depth: Bits of a sample: 8, 16, or 32 for floating point.
        gray: It has one colour.
        alpha: It has transparency.
        orientation: 1 to 8, as EXIF says of the stored pixels; pixels that are read are upright already.
        exif: EXIF that begins with the TIFF header, its orientation 1 and without a thumbnail; empty if there is none.
        icc: ICC profile of the colours that are read; empty if there is none.
        quality: 1 to 100, of a JPEG file.
        subsampling: Of the colours of a JPEG file, such as ``4:2:0``.
        compression: Of a TIFF file: ``none``, ``lzw`` or ``zip``.
        scale: Samples of this value are 1: more than 1 only in floating point files that hold higher values.
        bits: Of a sample as JPEG 2000 and AVIF files hold it, which Pillow may decode to fewer; 0 for other formats.
        notes: XMP, IPTC, comment, density, texts and georeference.
        colours: ``CMYK`` or ``Lab`` where the file's are read as RGB; else empty.
    """

    height: int
    width: int
    format: str = 'PNG'
    depth: int = 8
    gray: bool = False
    alpha: bool = False
    orientation: int = 1
    exif: bytes = b''
    icc: bytes = b''
    quality: int = 95
    subsampling: str = '4:4:4'
    compression: str = 'zip'
    scale: float = 1.0
    bits: int = 0
    notes: Notes = field(default_factory=Notes)
    colours: str = ''


def photo_size(path: str | Path) -> tuple[int, int]:
    """Height and width of a photograph as it is seen upright, from the head of its file.

    Raises:
        SagaError: The file is absent, empty, no picture, a raw one, or holds several.
    """
    kind = read_kind(path)[0]
    return kind.height, kind.width


def read_kind(path: str | Path) -> tuple[PhotoKind, str]:
    """A photograph's kind, with Pillow's mode of it, which is empty where only OpenImageIO reads the file.

    Depth, colours and transparency are those that Pillow decodes.

    Raises:
        SagaError: As ``photo_size``.
    """
    path = Path(path)
    if not path.is_file():
        raise SagaError(f'{path}: is a folder, not a picture' if path.is_dir() else f'{path}: no such picture')
    try:
        if path.stat().st_size == 0:
            raise SagaError(f'{path}: is empty (0 bytes)')
        # Pillow would take the preview in a raw file for the photograph
        if (kind_of_file := kind_of_content(path)) not in (PICTURE, VIDEO, ''):
            raise SagaError(f'{path}: is {kind_of_file}')
        with any_size(), open_picture(path) as image:
            facts = {'notes': read_notes(path, image), 'bits': _coded_bits(path, image.format)}
            kind, mode = replace(_kind_of(image), **facts), image.mode
            pages = _pages(image)
    except UnidentifiedImageError as error:
        if kind := _deep_tiff(path):
            return kind, ''
        raise SagaError(f'{path}: is not a picture, or a damaged one') from error
    except DAMAGE as error:
        raise SagaError(f'{path}: cannot be read as a picture ({reason_of(error, str(path))})') from error
    if pages > 1:
        kept = 'pages; save the one' if kind.format == 'TIFF' else 'pictures (an animation); save the one'
        raise SagaError(f'{path}: holds {pages} {kept} that you want as a file of its own')
    return kind, mode


def count_pictures(path: str | Path) -> int:
    """How many pictures a file holds: frames of an animation, pages of a TIFF file; 1 for what Pillow cannot open."""
    try:
        with any_size(), open_picture(path) as image:
            return _pages(image)
    except (UnidentifiedImageError, *DAMAGE):
        return 1


def _kind_of(image: Image.Image) -> PhotoKind:
    # the method of a PNG file would decode it, to look behind its pixels
    tags = Image.Image.getexif(image)
    orientation = tags.get(ExifTags.Base.Orientation, 1)
    orientation = orientation if orientation in range(1, 9) else 1
    # Pillow has turned the size of a TIFF file already
    exchanged = orientation > 4 and image.format != 'TIFF'
    width, height = image.size[::-1] if exchanged else image.size
    facts: dict[str, Any] = {}
    if image.format in ('JPEG', 'MPO'):
        facts['quality'] = jpeg_quality(image.quantization)
        facts['subsampling'] = SAMPLINGS.get(JpegImagePlugin.get_sampling(image), '4:2:0')
    if image.format == 'TIFF':
        packing = image.info.get('compression', '')
        facts['compression'] = {'raw': 'none', 'tiff_lzw': 'lzw'}.get(packing, 'zip')
    raw = image.info.get('exif', b'').removeprefix(b'Exif\0\0')
    return PhotoKind(
        height=height,
        width=width,
        format='JPEG' if image.format == 'MPO' else image.format,
        depth=32 if image.mode == 'F' else 16 if image.mode.startswith('I') else 8,
        gray=image.mode in GREY_MODES,
        alpha=image.mode.endswith(('A', 'a')) or 'transparency' in image.info,
        orientation=orientation,
        exif=upright_exif(raw or kept_exif(tags), (width, height)),
        colours=CONVERTED.get(image.mode, ''),
        icc=b'' if image.mode in CONVERTED else image.info.get('icc_profile') or b'',
        **facts,
    )


def _coded_bits(path: Path, kind: str | None) -> int:
    """Bits of a sample in a JPEG 2000 or AVIF file, which Pillow may decode to fewer; 0 for other formats."""
    if kind not in ('JPEG2000', 'AVIF'):
        return 0
    with path.open('rb') as file:
        head = file.read(HEAD)
    if kind == 'AVIF':
        # of the configuration of AV1: after its name, a version, a profile, and flags for more than 8 and 10 bits
        place = head.find(b'av1C')
        flags = head[place + 6] if 0 <= place < len(head) - 6 else 0
        return (12 if flags & 0x20 else 10) if flags & 0x40 else 8
    # of the first marker of a codestream: after ten numbers, the first channel's bits less one, and a flag for a sign
    place = head.find(b'\xff\x4f\xff\x51')
    return (head[place + 42] & 0x7F) + 1 if 0 <= place < len(head) - 42 else 0


def _pages(image: Image.Image) -> int:
    """How many pictures there are, of those that are not smaller copies or belong to a JPEG file."""
    pages = 1 if image.format == 'MPO' else getattr(image, 'n_frames', 1)
    if image.format != 'TIFF' or pages == 1:
        return pages
    whole = 1
    for page in range(1, pages):
        image.seek(page)
        whole += not image.tag_v2.get(ExifTags.Base.NewSubfileType, 0) & REDUCED_PAGE
    return whole


def _deep_tiff(path: Path) -> PhotoKind | None:
    """Of TIFF files that Pillow does not know, such as colours in floating point."""
    source = open_tiff(path)
    if source is None:
        return None
    spec = source.spec()
    orientation = spec.get_int_attribute('Orientation', 1)
    size = (spec.width, spec.height) if orientation > 4 else (spec.height, spec.width)
    profile = spec.getattribute('ICCProfile')
    packing = spec.get_string_attribute('compression')
    icc = bytes(profile) if profile is not None else b''
    compression = packing if packing in ('none', 'lzw') else 'zip'
    facts = {'icc': icc, 'compression': compression, 'notes': Notes(geo=read_geo(path))}
    return PhotoKind(*size, format='TIFF', orientation=orientation, **facts)


def jpeg_quality(tables: dict[int, list[int]]) -> int:
    """Quality, 1 to 100, at which the common encoder quantises brightness most nearly as these tables do."""
    if not tables:
        return PhotoKind.quality
    # the table of brightness is the first; of others, the encoder's quality is that which comes nearest
    coarseness = sum(tables[min(tables)])
    scale = _coarseness()
    return min(range(100, 0, -1), key=lambda quality: abs(scale[quality - 1] - coarseness))


@lru_cache(maxsize=1)
def _coarseness() -> list[int]:
    """Sum of the brightness table for the qualities 1 to 100, as the encoder at hand writes it."""
    sums = []
    for quality in range(1, 101):
        file = io.BytesIO()
        Image.new('L', (1, 1)).save(file, 'JPEG', quality=quality)
        with open_picture(file) as image:
            sums.append(sum(image.quantization[0]))
    return sums
