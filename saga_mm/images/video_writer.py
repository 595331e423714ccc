"""Write video files: encode frames, and copy the sound."""

from __future__ import annotations

import errno
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from saga_mm.errors import SagaError
from saga_mm.files import FULL, Draft, write_error

from .video_kind import CONVERTING_THREADS, THREADS, VideoKind, import_av


class Encoder(NamedTuple):
    """How the pictures of a kind of file are encoded.

    Attributes:
        container: FFmpeg's name for the kind of file.
        codec: FFmpeg's name for the codec.
        options: Of the codec.
        even: Sides must be even for the usual colours; odd ones get full ones.
        steady: Frames have numbers, not times.
        deep: FFmpeg's name for the codec of videos of 10 bits; empty if there is none.
    """

    container: str
    codec: str
    options: dict[str, str]
    even: bool = False
    steady: bool = False
    deep: str = ''


# its own lines on the screen are for developers
H265 = {'crf': '18', 'preset': 'veryfast', 'x265-params': 'log-level=none'}
H264 = {'crf': '18', 'preset': 'veryfast'}
VP9 = {'crf': '24', 'b': '0', 'deadline': 'realtime', 'cpu-used': '6', 'row-mt': '1'}
FINE = {'qmin': '2', 'qmax': '3'}
ENCODERS = {
    **dict.fromkeys(('.mp4', '.m4v'), Encoder('mp4', 'libx264', H264, even=True, deep='libx265')),
    '.mov': Encoder('mov', 'libx264', H264, even=True, deep='libx265'),
    '.mkv': Encoder('matroska', 'libx264', H264, even=True, deep='libx265'),
    '.3gp': Encoder('3gp', 'libx264', H264, even=True),
    '.flv': Encoder('flv', 'libx264', H264, even=True),
    **dict.fromkeys(('.mts', '.m2ts', '.ts'), Encoder('mpegts', 'libx264', H264, even=True, deep='libx265')),
    '.webm': Encoder('webm', 'libvpx-vp9', VP9),
    '.avi': Encoder('avi', 'mpeg4', FINE, steady=True),
    '.wmv': Encoder('asf', 'wmv2', FINE, steady=True),
    **dict.fromkeys(('.mpg', '.mpeg'), Encoder('mpeg', 'mpeg2video', FINE, steady=True)),
}
# subtitles, by FFmpeg's names, that kinds of files can hold
SUBTITLES = {
    'matroska': ('srt', 'subrip', 'ass', 'ssa', 'webvtt', 'pgssub', 'dvdsub', 'dvbsub'),
    'mp4': ('mov_text',),
    'mov': ('mov_text',),
    'webm': ('webvtt',),
}
WITH_CHAPTERS = ('matroska', 'mp4', 'mov', 'webm')
# of a track of sound or subtitles
OF_TRACK = ('language', 'title', 'handler_name')
# columns and rows below which x265 writes beyond its memory, or refuses
H265_SIDES = (64, 16)
HDR_NAMES = {16: 'PQ', 18: 'HLG'}
# errors of a disk, and not of a codec
DISK = (*FULL, errno.EFBIG, errno.EIO)
# of the source's file, not of what it shows
OF_FILE = ('major_brand', 'minor_version', 'compatible_brands', 'encoder', 'duration')


class VideoWriter:
    """A video file that appears when it is complete.

    Used as a context manager: an error leaves nothing behind.

    Args:
        path: The file; its ending says which kind.
        kind: Size, rate and colours.
        sounds: Streams of FFmpeg's whose packets will be copied.
        subtitles: The same of subtitles, where files of this kind can hold them.

    Raises:
        SagaError: It cannot be written, or files of this kind cannot hold the sound.
    """

    def __init__(
        self, path: str | Path, kind: VideoKind, sounds: Sequence[Any] = (), subtitles: Sequence[Any] = ()
    ) -> None:
        self._av = import_av()
        self.path, self.kind = Path(path), kind
        self._encoder = ENCODERS.get(self.path.suffix.lower())
        if self._encoder is None:
            raise SagaError(f'{path}: is no kind of video that is written; name one of {", ".join(ENCODERS)}')
        self._last, self._is_uneven = -1, False
        self._deep = bool(kind.bits > 8 and self._encoder.deep)
        if kind.is_hdr and not self._deep:
            raise SagaError(
                f'{path}: the source is HDR (HLG or PQ), which needs 10 bits, and files of this kind get 8; name a '
                '.mp4, .mov or .mkv file as the output'
            )
        options = {}
        if self._encoder.container in ('mp4', 'mov', '3gp'):
            # names of Apple's and Android's are kept with this alone
            named = any(name.startswith('com.') for name in kind.metadata or {})
            options['movflags'] = 'faststart' + '+use_metadata_tags' * named
        self._draft = Draft(self.path)
        try:
            self._container = self._av.open(
                f'file:{self._draft.temporary}', 'w', format=self._encoder.container, container_options=options
            )
        except BaseException as error:
            self._draft.discard()
            if isinstance(error, OSError):
                raise write_error(path, error) from error
            raise
        try:
            self._container.metadata.update(_of_content(kind.metadata or {}))
            self._stream = self._add_pictures()
            self._copied = {sound.index: self._add_copied(sound) for sound in sounds}
            held = SUBTITLES.get(self._encoder.container, ())
            kept = [track for track in subtitles if track.codec_context.name in held]
            self._copied.update({track.index: self._add_copied(track) for track in kept})
            self._lost = ['subtitles were left out, which files of this kind cannot hold'] * (
                len(kept) < len(subtitles)
            )
            if kind.chapters and self._encoder.container in WITH_CHAPTERS:
                self._container.set_chapters([dict(chapter) for chapter in kind.chapters])
            elif kind.chapters:
                self._lost.append('chapters were left out, which files of this kind cannot hold')
            self._start()
        except BaseException:
            self._discard()
            raise

    @property
    def changes(self) -> list[str]:
        """What of the source files of this kind have otherwise, in a few words each; complete after the last frame."""
        kind, changes = self.kind, []
        if kind.bits > 8:
            label = f' {HDR_NAMES[kind.colours[2]]}' if kind.is_hdr else ''
            to = 10 if self._deep else 8
            became = f'{kind.bits} bits became {to}{", which files of this kind hold" * (not self._deep)}'
            changes.append(f'10 bits{label} kept' if kind.bits == to else became)
        chroma = next((name for name in ('444', '422') if name in self._stream.pix_fmt), '420')
        if chroma != kind.chroma and chroma != '444':
            changes.append(f'colours of {":".join(kind.chroma)} became {":".join(chroma)}')
        if self._is_uneven:
            rate = f'{float(kind.rate):.4g}'
            changes.append(f'frames at uneven times became {rate} a second, which files of this kind have')
        return changes + self._lost

    def write(self, pixels: np.ndarray, time: int) -> None:
        """Add a frame.

        Args:
            pixels: ``(H, W, 3)`` RGB, uint8 or uint16.
            time: When it is shown, in units of the kind's time base; later than the one before.
        """
        colours = 'rgb48le' if pixels.dtype == np.uint16 else 'rgb24'
        picture = self._av.VideoFrame.from_ndarray(np.ascontiguousarray(pixels), format=colours)
        if self._coloured:
            picture.colorspace, picture.color_range = self.kind.colours[:2]
        picture = picture.reformat(format=self._stream.pix_fmt, threads=CONVERTING_THREADS)
        base = self._stream.codec_context.time_base
        shown = time * self.kind.time_base
        # of a place in the source's unit of time: two frames that round to one place would not be written
        self._last = max(round(shown / base), self._last + 1)
        self._is_uneven |= self._encoder.steady and abs(self._last * base - shown) > base
        picture.pts, picture.time_base = self._last, base
        self._mux(self._stream.encode(picture))

    def copy(self, packet: Any) -> None:
        """Add a packet of sound or subtitles, with times that begin where those of the frames do."""
        if packet.stream.index in self._copied:
            packet.stream = self._copied[packet.stream.index]
            self._mux([packet])

    def close(self) -> None:
        """Complete the file, and give it its name."""
        try:
            self._mux(self._stream.encode(None))
            self._container.close()
        except BaseException as error:
            self._discard()
            if isinstance(error, OSError):
                raise write_error(self.path, error) from error
            raise
        self._draft.publish()

    def __enter__(self) -> VideoWriter:
        return self

    def __exit__(self, kind: type | None, *error: object) -> None:
        if kind is None:
            self.close()
        else:
            self._discard()

    def _add_pictures(self) -> Any:
        kind, encoder = self.kind, self._encoder
        rate = kind.rate.limit_denominator(1001)
        codec, options = (encoder.deep, H265) if self._deep else (encoder.codec, encoder.options)
        if self._deep and (kind.width < H265_SIDES[0] or kind.height < H265_SIDES[1]):
            codec, options = encoder.codec, encoder.options
        if kind.screen and options is H265:
            facts = ''.join(f':{name}={value}' for name, value in kind.screen)
            options = {**H265, 'x265-params': f'{H265["x265-params"]}:hdr10=1{facts}'}
        stream = self._container.add_stream(codec, rate=rate, options=dict(options))
        stream.width, stream.height = kind.width, kind.height
        odd = encoder.even and (kind.width % 2 or kind.height % 2)
        stream.pix_fmt = 'yuv444p' if odd else 'yuv420p'
        if self._deep:
            stream.pix_fmt = f'yuv{"444" if odd else kind.chroma}p10le'
            if encoder.container in ('mp4', 'mov') and codec == encoder.deep:
                # what players of Apple's want
                stream.codec_context.codec_tag = 'hvc1'
        context = stream.codec_context
        context.thread_count = THREADS
        context.time_base = 1 / rate if encoder.steady else kind.time_base
        context.sample_aspect_ratio = kind.aspect
        # number 0 is the matrix of RGB, and old codecs know none at all
        self._coloured = bool(kind.colours and kind.colours[0]) and not encoder.steady
        if self._coloured:
            context.colorspace, context.color_range, context.color_trc, context.color_primaries = kind.colours
        return stream

    def _add_copied(self, track: Any) -> Any:
        try:
            added = self._container.add_stream_from_template(track)
        except (ValueError, self._av.FFmpegError) as error:
            raise self._no_sound([track]) from error
        added.metadata.update({name: text for name, text in track.metadata.items() if name in OF_TRACK})
        added.disposition = track.disposition
        return added

    def _start(self) -> None:
        try:
            self._container.start_encoding()
        except self._av.FFmpegError as error:
            if self._copied and not isinstance(error, OSError):
                raise self._no_sound(list(self._copied.values())) from error
            if error.errno in DISK:
                raise write_error(self.path, error) from error
            size = f'{self.kind.width} x {self.kind.height}'
            raise SagaError(
                f'{self.path}: {size} pixels cannot be encoded ({error.strerror}); name a .mkv file for it'
            ) from error

    def _no_sound(self, sounds: Sequence[Any]) -> SagaError:
        names = ', '.join(dict.fromkeys(sound.codec_context.name for sound in sounds))
        return SagaError(f'{self.path}: files of this kind cannot hold the sound ({names}); name a .mkv file for it')

    def _mux(self, packets: Sequence[Any]) -> None:
        try:
            self._container.mux(packets)
        except OSError as error:
            raise write_error(self.path, error) from error

    def _discard(self) -> None:
        try:
            self._container.close()
        except (OSError, ValueError):
            pass
        finally:
            self._draft.discard()


def _of_content(metadata: Mapping[str, str]) -> dict[str, str]:
    return {name: text for name, text in metadata.items() if name.lower() not in OF_FILE}
