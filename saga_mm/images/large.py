"""Read windows of rows of JPEG, PNG and TIFF files of any size."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from saga_mm.errors import SagaError
from saga_mm.files import user_path
from saga_mm.images.headers import BANDS, Header, any_size, read_header, reason_of
from saga_mm.images.pictures import (
    DECODING_BYTES,
    OTHER_DECODING_BYTES,
    from_deep,
    highest_of,
    image_library,
    library_name,
    open_picture,
    open_tiff,
    read_picture,
)

# rows decoded at a time, where the file has no tiles
BLOCK = 64
# what the reader gives for these modes of Pillow is equal to what Pillow gives, value by value
COLOURS = ('1', 'L', 'LA', 'P', 'RGB', 'RGBA', 'CMYK')
DEEP = ('I;16', 'I;16B', 'I', 'F')
DEEP_TYPES = ('uint16', 'int16', 'int', 'float')
# libjpeg's word for bytes that belong to nothing, which do no harm
HARMLESS = 'extraneous bytes'


class RowReader:
    """Rows of a picture, upright, uint8 BGR as ``mmcv.imread`` gives them. A context manager.

    Attributes:
        height: Rows.
        width: Columns.
        held_bytes: About how much it will hold beside the rows that ``read`` returns, and does not hold yet.
        is_decoded: Whether the whole picture is in memory.
    """

    is_decoded = False

    def __init__(self, height: int, width: int, held_bytes: int) -> None:
        self.height, self.width, self.held_bytes = height, width, held_bytes

    def read(self, start: int, stop: int) -> np.ndarray:
        """Rows ``[start, stop)`` as a new ``(stop - start, width, 3)`` array.

        Reading is meant to go from top to bottom. A read may begin up to 64 rows above the end of the one before it
        without anything being decoded twice; one that begins further up is right as well, but JPEG and PNG are then
        decoded again from the top.

        Raises:
            SagaError: The file is damaged in these rows.
        """
        if not 0 <= start < stop <= self.height:
            raise ValueError(f'no rows {start} to {stop} in a picture of {self.height}')
        return self._rows(start, stop)

    def close(self) -> None:
        """Close the file."""

    def _rows(self, start: int, stop: int) -> np.ndarray:
        raise NotImplementedError

    def __enter__(self) -> RowReader:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()


def open_rows(path: str | Path) -> RowReader:
    """Open a picture to be read in windows of rows, with the values that ``read_picture`` gives.

    Decoded as it is read: JPEG, PNG and TIFF (stripped, tiled, BigTIFF, any compression), grey, coloured, CMYK, with
    transparency or palette, of 8 or 16 bits. Some kinds need more memory, which ``held_bytes`` counts where it is not
    taken at once:

    - Progressive JPEG: its coefficients, up to 6 bytes a pixel. Interlaced PNG: the picture in its own samples.
    - TIFF: two rows of tiles, or a compressed strip.
    - Turned by EXIF (orientations 3 to 8; 2 is mirrored as it is read): decoded in windows into an array of 3 bytes a
      pixel. The tag of a PNG is seen where it stands before the pixels.
    - Other formats, and TIFF with a palette, in CIELAB or with premultiplied transparency: decoded whole.

    Grey TIFF pictures of 16 or 32 bits are read once more beforehand, for their highest value sets their range.

    Raises:
        SagaError: There is no file, it is no picture or a damaged one, or larger than its format's library reads
            (65,500 pixels a side for JPEG, a million for PNG).
    """
    path = user_path(path)
    if not path.is_file():
        raise SagaError(f'{path}: no such picture')
    with any_size():
        header = read_header(path)
        reader = StreamReader.open(path, header) if header else None
        if reader is None:
            return _HeldReader(read_picture(path)[..., ::-1])
    if header.orientation <= 2:
        return reader
    with reader:
        return _HeldReader(_upright(reader, header.orientation))


def decoding_bytes(path: str | Path) -> int:
    """About how much decoding a picture takes that :func:`open_rows` decodes whole; 0 for one that is read in rows.

    The header alone is read, so that a small file that claims to be huge costs nothing.
    """
    path = Path(path)
    try:
        with any_size(), open_picture(path) as image:
            kind, pixels = image.format, image.width * image.height
        with any_size():
            header = read_header(path)
    except (OSError, SyntaxError, ValueError, EOFError, SagaError):
        return 0
    if header is None:
        return DECODING_BYTES.get(kind, OTHER_DECODING_BYTES) * pixels
    return 0 if header.orientation <= 2 else 2 * 3 * pixels


def pixel_count(path: str | Path) -> int:
    """How many pixels the header of a picture claims; 0 for what is none."""
    try:
        with any_size(), open_picture(path) as image:
            return image.width * image.height
    except (OSError, SyntaxError, ValueError, EOFError):
        file = open_tiff(path)
        return 0 if file is None else file.spec().width * file.spec().height


class _HeldReader(RowReader):
    """A picture ``(H, W, 3)`` that is in memory."""

    is_decoded = True

    def __init__(self, picture: np.ndarray) -> None:
        super().__init__(*picture.shape[:2], held_bytes=0)
        self.picture = picture

    def _rows(self, start: int, stop: int) -> np.ndarray:
        return self.picture[start:stop].copy()


class StreamReader(RowReader):
    """A file whose rows are decoded as they are asked for, in blocks, of which the last two are kept."""

    def __init__(self, path: Path, header: Header, file: Any) -> None:
        spec = file.spec()
        self.path, self.header, self.file, self.spec = path, header, file, spec
        # at least BLOCK rows, in whole rows of tiles
        tile = spec.tile_height or BLOCK
        self.block = tile * -(-BLOCK // tile)
        samples = spec.width * spec.nchannels * spec.format.size()
        held = 2 * self.block * (spec.width * 3 + samples)
        # a compressed strip is read whole; a number below 0 is one that means all rows
        strip = spec.get_int_attribute('tiff:RowsPerStrip')
        held += path.stat().st_size * (strip if 0 <= strip < spec.height else spec.height) // spec.height
        if header.buffered:
            held += spec.height * (samples if header.format == 'PNG' else spec.width * 6)
        super().__init__(spec.height, spec.width, held)
        self._blocks: dict[int, np.ndarray] = {}
        # as read_picture has them: of other formats OpenCV, which reads them for training, takes the upper 8 bits
        ranged = header.mode in DEEP and (header.mode != 'I;16' or header.format == 'TIFF')
        self._highest = self._find_highest() if ranged and spec.nchannels < 3 else None

    @classmethod
    def open(cls, path: Path, header: Header) -> StreamReader | None:
        """None where only ``read_picture`` gives the values of ``read_picture``."""
        library = image_library()
        settings = library.ImageSpec()
        # else colours come multiplied by their opacity
        settings.attribute('oiio:UnassociatedAlpha', 1)
        file = library.ImageInput.open(library_name(path), settings)
        if file is None:
            raise SagaError(f'{path}: cannot be read as a picture ({reason_of(library.geterror(), str(path))})')
        return cls(path, header, file) if _same_values(header, file.spec()) else None

    def close(self) -> None:
        self.file.close()
        self._blocks.clear()

    def _rows(self, start: int, stop: int) -> np.ndarray:
        rows = np.empty((stop - start, self.width, 3), np.uint8)
        for index in range(start // self.block, -(-stop // self.block)):
            first = index * self.block
            block = self._block(index)
            top, bottom = max(start, first), min(stop, first + len(block))
            rows[top - start : bottom - start] = block[top - first : bottom - first]
        return rows

    def _block(self, index: int) -> np.ndarray:
        if index not in self._blocks:
            block = self._convert(self._decode(index))
            before = self._blocks.get(index - 1)
            self._blocks = {index: block} if before is None else {index - 1: before, index: block}
        return self._blocks[index]

    def _decode(self, index: int) -> np.ndarray:
        """Samples ``(rows, W, channels)`` as they are stored."""
        spec = self.spec
        start = index * self.block
        stop = min(start + self.block, spec.height)
        # a TIFF file may place its picture on a page
        top, bottom = spec.y + start, spec.y + stop
        if spec.tile_height:
            columns = spec.x, spec.x + spec.width
            samples = self.file.read_tiles(0, 0, *columns, top, bottom, 0, 1, 0, spec.nchannels, spec.format)
        else:
            samples = self.file.read_scanlines(0, 0, top, bottom, 0, 0, spec.nchannels, spec.format)
        error = self.file.geterror()
        if samples is None or (error and HARMLESS not in error):
            reason = reason_of(error or 'nothing was decoded', str(self.path))
            where = f'between its rows {start} and {stop - 1}'
            raise SagaError(f'{self.path}: is damaged or cut off {where} ({reason})')
        return samples.reshape(stop - start, spec.width, spec.nchannels)

    def _convert(self, samples: np.ndarray) -> np.ndarray:
        if self._highest is not None:
            samples = from_deep(samples[..., 0], self._highest)
        elif samples.dtype == np.uint16:
            samples = (samples >> 8).astype(np.uint8)
        colours = samples[..., 2::-1] if samples.shape[2] > 2 else np.repeat(samples[..., :1], 3, axis=2)
        return np.ascontiguousarray(colours[:, ::-1] if self.header.orientation == 2 else colours)

    def _find_highest(self) -> float:
        blocks = range(-(-self.height // self.block))
        return max(highest_of(self._decode(i)[..., 0]) for i in blocks)


def _same_values(header: Header, spec: Any) -> bool:
    depth = str(spec.format)
    if header.mode == BANDS or (header.mode in DEEP and spec.nchannels > 2):
        return depth in ('uint8', 'uint16') and spec.nchannels > 2
    if header.mode in DEEP:
        return depth in DEEP_TYPES
    if header.format == 'TIFF' and (header.mode == 'P' or header.stored.startswith('RGBa')):
        return False
    return header.mode in COLOURS and depth in (('uint8',) if header.mode == 'CMYK' else ('uint8', 'uint16'))


def _upright(reader: RowReader, orientation: int) -> np.ndarray:
    """The whole picture, turned: the rows as they come are written through a view that is turned the other way."""
    height, width = reader.height, reader.width
    upright = np.empty((width, height, 3) if orientation > 4 else (height, width, 3), np.uint8)
    stored = {
        3: upright[::-1, ::-1],
        4: upright[::-1],
        5: upright.swapaxes(0, 1),
        6: np.rot90(upright),
        7: upright[::-1, ::-1].swapaxes(0, 1),
        8: np.rot90(upright, -1),
    }[orientation]
    for start in range(0, height, BLOCK):
        stop = min(start + BLOCK, height)
        stored[start:stop] = reader.read(start, stop)
    return upright
