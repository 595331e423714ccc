"""Read photographs at their own depth, whole or by rows, with all their metadata."""

from __future__ import annotations

import io
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from PIL import Image, ImageCms, ImageOps

from saga_mm.errors import SagaError
from saga_mm.files import user_path
from saga_mm.images.headers import reason_of

from .headers import Header, any_size, read_header
from .kind import PhotoKind, read_kind
from .large import BLOCK, StreamReader
from .metadata import DAMAGE
from .pictures import DECODING_BYTES, OTHER_DECODING_BYTES, image_library, library_name, open_picture, upright

# modes of Pillow whose samples OpenImageIO reads as they are meant; empty is what Pillow does not know
STREAMED = ('', '1', 'L', 'LA', 'P', 'RGB', 'RGBA', 'I;16', 'I;16B', 'I', 'F')
# formats whose decoders round the three channels of grey apart, by up to this
LOSSY, LOSSY_SPREAD = ('WEBP', 'AVIF', 'JPEG2000'), 1.5 / 255
HIGHEST = {'uint8': 255, 'uint16': 65535}
STEP = 4 * BLOCK


@dataclass
class Photo:
    """A photograph in memory.

    Attributes:
        pixels: ``(H, W, 3)`` float32 RGB in [0, 1], upright.
        alpha: Opacity, ``(H, W)`` float32 in [0, 1]; None where the file has none.
        kind: What is needed to write the same kind of file.
    """

    pixels: np.ndarray
    alpha: np.ndarray | None
    kind: PhotoKind

    def read_alpha(self, start: int, stop: int) -> np.ndarray | None:
        """Opacity of rows ``[start, stop)``, if there is any."""
        return None if self.alpha is None else self.alpha[start:stop]


def read_photo(path: str | Path) -> Photo:
    """Read a photograph of any kind at its full depth, turned upright.

    Gray is repeated three times, palettes and CMYK become RGB (CMYK by its profile, to sRGB). Floating point values are
    divided by the highest if that is above 1; those below 0 are 0.

    Raises:
        SagaError: The file is absent, empty, damaged, no picture, a raw one, or holds several.
    """
    with PhotoRows(path) as rows:
        pixels = np.empty((rows.height, rows.width, 3), np.float32)
        alpha = np.empty((rows.height, rows.width), np.float32) if rows.kind.alpha else None
        for start in range(0, rows.height, STEP):
            stop = min(start + STEP, rows.height)
            pixels[start:stop] = rows.read(start, stop)
            if alpha is not None:
                alpha[start:stop] = rows.read_alpha(start, stop)
        return Photo(pixels, alpha, rows.kind)


class PhotoRows:
    """A photograph that is read in windows of rows, with the values of ``read_photo``. A context manager.

    JPEG, PNG and TIFF are decoded as they are read, best from top to bottom. What EXIF turns or flips upside down, CMYK
    and all other formats are decoded whole at the first read, and stay in memory in samples of the file's own depth:
    ``held_bytes`` says so beforehand.

    Attributes:
        height: Rows.
        width: Columns.
        kind: What is needed to write the same kind of file.
        held_bytes: About how much is in memory beside the rows that ``read`` returns.

    Raises:
        SagaError: As ``read_photo``; of damaged pixels when they are read.
    """

    def __init__(self, path: str | Path) -> None:
        self.path = user_path(path)
        self.kind, self._mode = read_kind(self.path)
        self._streams: list[_Stream] = []
        stream = self._open_stream()
        self._for_alpha: _Stream | None = None
        self._source: _Stream | _Held
        if stream is None:
            self._source = _Held(lambda: _decode(self.path, self.kind), self.kind, 0)
        else:
            self.kind = stream.complete(self.kind)
            held = self.kind.orientation > 2
            self._source = _Held(stream.read_all, self.kind, stream.held_bytes) if held else stream
        self.height, self.width, self.held_bytes = self.kind.height, self.kind.width, self._source.held_bytes
        # rows from the top that were read, and whether colour was met in any
        self._seen, self._coloured = 0, False

    def read(self, start: int, stop: int) -> np.ndarray:
        """Rows ``[start, stop)`` as a new ``(stop - start, width, 3)`` array, float32 RGB in [0, 1].

        Raises:
            SagaError: The file is damaged in these rows.
        """
        samples = self._source.read(start, stop)
        colours = samples[..., :3] if samples.shape[2] > 2 else np.repeat(samples[..., :1], 3, axis=2)
        values = _unit(colours, self.kind.scale)
        if not self._coloured and not self.kind.gray:
            self._coloured = not is_grey(values, LOSSY_SPREAD if self.kind.format in LOSSY else 0)
        if start <= self._seen:
            self._seen = max(self._seen, stop)
        return values

    @property
    def is_grey(self) -> bool:
        """Whether the picture has no colour, in one channel or in three equal ones; reads what was not read yet."""
        while not self._coloured and not self.kind.gray and self._seen < self.height:
            self.read(self._seen, min(self._seen + STEP, self.height))
        return not self._coloured

    def read_alpha(self, start: int, stop: int) -> np.ndarray | None:
        """Opacity of these rows, ``(stop - start, width)`` in [0, 1], if there is any.

        It is decoded apart from the colours, so that either may be read from top to bottom at its own pace.
        """
        if not self.kind.alpha:
            return None
        if self._for_alpha is None and isinstance(self._source, _Stream):
            self._for_alpha = self._open_stream()
        return _unit((self._for_alpha or self._source).read(start, stop)[..., -1], 1)

    def close(self) -> None:
        """Close the file; nothing more can be read."""
        for stream in self._streams:
            stream.close()

    def _open_stream(self) -> _Stream | None:
        """None where the file has to be decoded whole by Pillow."""
        kind = self.kind.format
        if kind not in ('JPEG', 'PNG', 'TIFF') or self._mode not in STREAMED or (kind, self._mode) == ('TIFF', 'P'):
            return None
        with any_size():
            header = read_header(self.path) or Header('TIFF', '', '', self.kind.orientation, False)
        if header.stored.startswith('RGBa'):
            return None
        self._streams.append(_Stream.open(self.path, header))
        return self._streams[-1]

    def __enter__(self) -> PhotoRows:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()


class _Stream(StreamReader):
    """Samples ``(rows, W, channels)`` of a file, decoded as they are asked for."""

    @classmethod
    def open(cls, path: Path, header: Header) -> _Stream:
        library = image_library()
        settings = library.ImageSpec()
        settings.attribute('oiio:UnassociatedAlpha', 1)
        file = library.ImageInput.open(library_name(path), settings)
        if file is None:
            raise SagaError(f'{path}: cannot be read as a picture ({reason_of(library.geterror(), str(path))})')
        spec = file.spec()
        if spec.nchannels > 4 or (spec.nchannels == 4 and spec.alpha_channel < 0):
            raise SagaError(f'{path}: has {spec.nchannels} bands; photographs have up to 3, and transparency')
        return cls(path, header, file)

    def complete(self, kind: PhotoKind) -> PhotoKind:
        """The kind, with what only the decoder knows."""
        depth = {'uint8': 8, 'half': 32, 'float': 32, 'double': 32}.get(str(self.spec.format), 16)
        gray, alpha = self.spec.nchannels < 3, self.spec.alpha_channel >= 0
        scale = 1.0
        if str(self.spec.format) not in HIGHEST:
            colours = 1 if gray else 3
            blocks = (self._decode(index)[..., :colours] for index in range(-(-self.height // self.block)))
            scale = max(1.0, *(float(_finite(block).max()) for block in blocks))
        return replace(kind, depth=depth, gray=gray, alpha=alpha, scale=scale)

    def read_all(self) -> np.ndarray:
        samples = upright(self.read(0, self.height), self.header.orientation)
        self.close()
        return samples

    def _rows(self, start: int, stop: int) -> np.ndarray:
        first, last = start // self.block, (stop - 1) // self.block
        parts = []
        for index in range(first, last + 1):
            top = index * self.block
            parts.append(self._block(index)[max(start - top, 0) : stop - top])
        return parts[0] if len(parts) == 1 else np.concatenate(parts)

    def _convert(self, samples: np.ndarray) -> np.ndarray:
        return samples[:, ::-1] if self.header.orientation == 2 else samples

    def _find_highest(self) -> None:
        """None, since 16 bits stay 16 bits and are not scaled to the highest value."""


class _Held:
    """Samples that are decoded whole when the first are asked for."""

    def __init__(self, decode: Callable[[], np.ndarray], kind: PhotoKind, more_bytes: int) -> None:
        self._decode = decode
        self._samples: np.ndarray | None = None
        channels = (1 if kind.gray else 3) + kind.alpha
        samples = kind.height * kind.width * channels * kind.depth // 8
        # the stored pixels beside the upright ones; Pillow holds copies of its own while it decodes
        decoding = DECODING_BYTES.get(kind.format, OTHER_DECODING_BYTES) * kind.height * kind.width
        self.held_bytes = 2 * samples + more_bytes if more_bytes else max(samples, decoding)

    def read(self, start: int, stop: int) -> np.ndarray:
        if self._samples is None:
            self._samples = self._decode()
        return self._samples[start:stop]


def _decode(path: Path, kind: PhotoKind) -> np.ndarray:
    """Samples of a file that only Pillow reads as they are meant, upright."""
    try:
        # of a file that it opens itself Pillow maps some kinds into memory, with the sides of turned ones mixed up
        with any_size(), path.open('rb') as opened, open_picture(opened) as file:
            image = ImageOps.exif_transpose(file)
            if kind.depth > 8:
                values = _finite(np.asarray(image))
                deep = values.clip(0, 65535).astype(np.uint16) if kind.depth == 16 else values / max(1, values.max())
                return deep[..., None]
            image = from_cmyk(image)
            mode = ('L' if kind.gray else 'RGB') + 'A' * kind.alpha
            return np.asarray(image.convert(mode)).reshape(image.height, image.width, -1)
    except DAMAGE as error:
        raise SagaError(f'{path}: is damaged or cut off ({reason_of(error, str(path))})') from error


def from_cmyk(image: Image.Image) -> Image.Image:
    """A CMYK picture of Pillow's in sRGB, by its profile if it has one; other pictures as they are."""
    if image.mode != 'CMYK':
        return image
    if profile := image.info.get('icc_profile'):
        # a damaged profile is ignored
        with suppress(ImageCms.PyCMSError, OSError):
            source, target = ImageCms.ImageCmsProfile(io.BytesIO(profile)), ImageCms.createProfile('sRGB')
            return ImageCms.profileToProfile(image, source, target, outputMode='RGB')
    return image.convert('RGB')


def is_grey(pixels: np.ndarray, spread: float = 0) -> bool:
    """Whether the three channels of ``(..., 3)`` differ by no more than ``spread``."""
    red, green, blue = (pixels[..., channel] for channel in range(3))
    if not spread:
        return np.array_equal(red, green) and np.array_equal(red, blue)
    return bool(np.max(pixels.max(axis=-1) - pixels.min(axis=-1)) <= spread)


def _finite(values: np.ndarray, highest: float = 0) -> np.ndarray:
    """Replace infinity by the highest value, and NaN and negative infinity by 0."""
    if values.dtype.kind != 'f':
        return values
    return np.nan_to_num(values.astype(np.float32), nan=0, posinf=highest, neginf=0)


def _unit(values: np.ndarray, scale: float) -> np.ndarray:
    """Stored values as float32 in [0, 1]."""
    highest = HIGHEST.get(str(values.dtype))
    if highest:
        return values.astype(np.float32) / np.float32(highest)
    return (_finite(values, scale).astype(np.float32) / np.float32(scale)).clip(0, 1)
