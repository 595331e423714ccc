"""What a video file says of itself: size, depth, colours and orientation; and PyAV, which reads it."""

from __future__ import annotations

import struct
from fractions import Fraction
from pathlib import Path
from types import ModuleType
from typing import Any, NamedTuple

from saga_mm.errors import SagaError

# what is opened: others are play lists and scripts, which may name further files
DEMUXERS = 'mov,matroska,avi,mpeg,mpegvideo,mpegts,asf,flv'
# FFmpeg's numbers of the transfers PQ and HLG
HDR = (16, 18)
# each holds some frames; more would not make the whole faster
THREADS = 4
# Threads that convert pixels. FFmpeg writes whole vectors, and the last one of a row reaches into the next row. One
# thread writes that next row afterwards; with several, another thread may already have written it.
CONVERTING_THREADS = 1


class VideoKind(NamedTuple):
    """What a written video has in common with its source.

    Attributes:
        height: Rows of a frame as it is shown.
        width: Columns of a frame as it is shown.
        rate: Frames a second, on average.
        time_base: Seconds, the unit of the times of frames.
        aspect: Width of a pixel over its height.
        colours: Numbers of FFmpeg's for matrix, range, transfer and primaries; empty for its defaults.
        metadata: Title, place, ..., by name.
        bits: Of a sample: 8, 10 or more.
        chroma: How colours are sampled, such as ``420``.
        chapters: As PyAV gives them, at times that begin with 0.
        screen: What HDR10 says of the screen that it was made on and of the brightest pixels, as pairs of a name and a
            value of x265's.
    """

    height: int
    width: int
    rate: Fraction
    time_base: Fraction
    aspect: Fraction = Fraction(1)
    colours: tuple[int, ...] = ()
    metadata: dict[str, str] | None = None
    bits: int = 8
    chroma: str = '420'
    chapters: tuple[dict[str, Any], ...] = ()
    screen: tuple[tuple[str, str], ...] = ()

    @property
    def is_hdr(self) -> bool:
        """Whether its brightness is that of HLG or PQ."""
        return len(self.colours) == 4 and self.colours[2] in HDR


def stated_size(path: str | Path) -> tuple[int, int, int] | None:
    """Height, width and bits of a sample as the head of a video says, before anything is decoded; None if it does not.

    Sides are those of what is stored, before it is turned.
    """
    av = import_av()
    try:
        options = {'format_whitelist': DEMUXERS}
        with av.open(f'file:{path}', metadata_errors='replace', container_options=options) as container:
            for stream in container.streams.video:
                context = None if stream.disposition & av.stream.Disposition.attached_pic else stream.codec_context
                if context is not None and context.height and context.width:
                    kind = context.format
                    return context.height, context.width, max(part.bits for part in kind.components) if kind else 8
    except av.FFmpegError:
        return None
    return None


def import_av() -> ModuleType:
    """PyAV.

    Raises:
        SagaError: It is not installed.
    """
    try:
        import av
        import av.stream
    except ImportError as error:
        raise SagaError(f'videos are read and written with PyAV: pip install av ({error})') from error
    # its messages in Python would wait for the interpreter, which waits for codecs that are being closed
    av.logging.set_level(None)
    return av


def chroma_of(form: Any) -> str:
    if form.is_rgb:
        return '444'
    return next((chroma for chroma in ('444', '422') if chroma in form.name), '420')


def hdr10_facts(frame: Any) -> dict[str, str]:
    """HDR10's facts of a frame, as x265 takes them by name: chromaticities in 1/50000, luminance in 1/10000 cd/m2."""
    parts = {part.type.name: bytes(part) for part in frame.side_data if len(bytes(part)) in (8, 88)}
    found = {}
    if data := parts.get('MASTERING_DISPLAY_METADATA'):
        # of FFmpeg's AVMasteringDisplayMetadata: ten fractions, and two flags for what is known
        values = struct.unpack('=22i', data)
        if all(values[1:20:2]) and values[20] and values[21]:
            red, green, blue, white, light = (
                [round(unit * values[at] / values[at + 1]) for at in (4 * place, 4 * place + 2)]
                for place, unit in enumerate((50_000, 50_000, 50_000, 50_000, 10_000))
            )
            names = (('G', green), ('B', blue), ('R', red), ('WP', white), ('L', light[::-1]))
            found['master-display'] = ''.join(f'{name}({pair[0]},{pair[1]})' for name, pair in names)
    if data := parts.get('CONTENT_LIGHT_LEVEL'):
        found['max-cll'] = '{},{}'.format(*struct.unpack('=2I', data))
    return found


def orientation_of(frame: Any) -> tuple[bool, bool, bool]:
    """Whether rows and columns are to be exchanged, and then columns and rows mirrored, by the file's matrix."""
    matrix = next((part for part in frame.side_data if part.type.name == 'DISPLAYMATRIX'), None)
    if matrix is None:
        return False, False, False
    # fixed point numbers, of which signs and the larger pair say the turn, a multiple of 90 degrees
    a, b, _, c, d, *_ = struct.unpack('=9i', bytes(matrix))
    if abs(b) > abs(a):
        return True, c < 0, b < 0
    return False, a < 0, d < 0
