"""Read the frames of a video file upright, and the packets of its sound."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from fractions import Fraction
from itertools import chain
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from saga_mm.errors import SagaError

from .video_ends import breaks_off
from .video_kind import (
    CONVERTING_THREADS,
    DEMUXERS,
    THREADS,
    VideoKind,
    chroma_of,
    hdr10_facts,
    import_av,
    orientation_of,
)

# seconds that a video may end before what it says, for codecs round
SLACK = 0.5
MICROSECONDS = 1_000_000


class Frame(NamedTuple):
    """A frame.

    Attributes:
        pixels: ``(H, W, 3)`` RGB, uint8, or uint16 of a video of more than 8 bits.
        time: When it is shown, in units of the video's time base.
    """

    pixels: np.ndarray
    time: int


class VideoReader:
    """A video that is read once, from its first frame to the last that is readable.

    Frames are turned and mirrored as the file says, so that they are as they are shown.

    Args:
        path: The file.

    Attributes:
        kind: Size, rate and colours.
        sounds: Streams of FFmpeg's that hold sound.
        subtitles: Those that hold subtitles.
        left_out: What is in the file beside these and not read, in a few words each.
        duration: Seconds that it should take, or None if it does not say.
        frames: About how many there should be, or None.
        damaged: How many packets could not be decoded so far.
        end: Seconds at which what was read so far ends.

    Raises:
        SagaError: No frame can be read, or PyAV is not installed.
    """

    def __init__(self, path: str | Path) -> None:
        self.path = Path(path)
        self._av = import_av()
        self.damaged, self.end = 0, 0.0
        self._failed, self._last, self._count = False, -1, 0
        self._items, self._stream = self._decoded(), None
        try:
            options = {'format_whitelist': DEMUXERS}
            self._container = self._av.open(f'file:{path}', metadata_errors='replace', container_options=options)
        except self._av.FFmpegError as error:
            raise SagaError(f'{path}: no video that can be read ({error.strerror})') from error
        try:
            self._read_head()
        except BaseException:
            self.close()
            raise

    def _read_head(self) -> None:
        streams = self._container.streams
        covers = self._av.stream.Disposition.attached_pic
        pictures = [stream for stream in streams.video if not stream.disposition & covers]
        if not pictures:
            raise SagaError(f'{self.path}: has no pictures in it, only sound')
        # without a codec FFmpeg has no context to decode in, and PyAV does not ask whether there is one
        if pictures[0].codec_context is None:
            raise SagaError(
                f'{self.path}: its pictures are in a codec that FFmpeg does not know, or the file is damaged'
            )
        self._stream = stream = pictures[0]
        stream.thread_type, stream.thread_count = 'AUTO', THREADS
        self.sounds = [sound for sound in streams.audio if sound.codec_context is not None]
        self.subtitles = [stream for stream in streams.subtitles if stream.codec_context is not None]
        self._sound_is_unknown = len(self.sounds) < len(streams.audio)
        self._start = Fraction(self._container.start_time or 0, MICROSECONDS)
        self._early: list[Any] = []
        for item in self._items:
            self._early.append(item)
            if isinstance(item, self._av.VideoFrame):
                break
        else:
            raise SagaError(f'{self.path}: no frame of it can be read')
        self._first = first = self._early[-1]
        self._turn = orientation_of(first)
        height, width = _rotate(np.empty((first.height, first.width), bool), self._turn).shape
        aspect = stream.sample_aspect_ratio or Fraction(1)
        rate = stream.average_rate or stream.guessed_rate or Fraction(25)
        self.kind = VideoKind(
            height,
            width,
            rate,
            stream.time_base or 1 / rate,
            1 / aspect if self._turn[0] else aspect,
            (first.colorspace, first.color_range, first.color_trc, first.color_primaries),
            dict(self._container.metadata),
            bits=max(part.bits for part in first.format.components),
            chroma=chroma_of(first.format),
            chapters=tuple(self._chapters()),
            screen=tuple(hdr10_facts(first).items()),
        )
        self.left_out = self._left_out(len(pictures), first)
        known = self._container.duration
        self.duration = known / MICROSECONDS if known else None
        self.frames = stream.frames or (round(self.duration * rate) if self.duration else None)
        # of an AVI file that breaks off, FFmpeg gives the duration of what is there
        self._stated = stream.frames if self._container.format.name == 'avi' else 0

    def _chapters(self) -> Iterator[dict[str, Any]]:
        for chapter in self._container.chapters():
            start = round(self._start / chapter['time_base'])
            yield {**chapter, 'start': max(chapter['start'] - start, 0), 'end': chapter['end'] - start}

    def _left_out(self, pictures: int, first: Any) -> list[str]:
        streams, found = self._container.streams, []
        if self._stream.metadata.get('alpha_mode') == '1' or any(part.is_alpha for part in first.format.components):
            found.append('transparency was left out')
        if first.interlaced_frame:
            found.append('interlaced frames became progressive ones')
        # the names of chapters are a track in some files
        data = len(streams.data) - (bool(self.kind.chapters) and 'mov' in self._container.format.name)
        counts = {
            'further track of pictures': pictures - 1,
            'cover picture': len(streams.video) - pictures,
            'track of data': data,
            'attached file': len(streams.attachments),
            'track of subtitles in an unknown codec': len(streams.subtitles) - len(self.subtitles),
        }
        for what, count in counts.items():
            if count > 0:
                plural = what.replace('track', 'tracks') if 'track' in what else f'{what}s'
                found.append(f'{count} {what} was left out' if count == 1 else f'{count} {plural} were left out')
        return found

    def read(self, keep: Callable[[Any], None] | None = None) -> Iterator[Frame]:
        """Frames in order; what is damaged is left out.

        Args:
            keep: Is given the packets of sound and subtitles, between frames, at times that begin with 0.
        """
        for item in chain(self._early, self._items):
            if isinstance(item, self._av.VideoFrame):
                self._count += 1
                yield Frame(self._pixels(item), self._time(item))
            elif keep is not None:
                keep(item)

    @property
    def missing(self) -> str:
        """After reading: what of the video could not be read, in a few words; empty if all could be."""
        if self._count + self.damaged < self._stated - SLACK * self.kind.rate:
            return f'the file ends early: {self._count} of {self._stated} frames could be read'
        if self._failed or (self.duration is not None and self.end < self.duration - SLACK):
            of = f' of {self.duration:.1f}' if self.duration is not None else ''
            return f'the file ends early: {self.end:.1f}{of} seconds could be read'
        if breaks_off(self.path):
            return f'the file ends early: {self._count} frames could be read'
        left_out = [f'{self.damaged} damaged pieces were left out'] if self.damaged else []
        left_out += ['sound in a codec that FFmpeg does not know was left out'] if self._sound_is_unknown else []
        return '; '.join(left_out)

    def close(self) -> None:
        """Close the file, and end the threads that decode it."""
        # frames refer to the reader: left to garbage collection, threads are waited for with the interpreter locked
        self._items.close()
        self._early = []
        if self._stream is not None:
            self._stream.codec_context.flush_buffers()
        self._stream = None
        self._container.close()

    def __enter__(self) -> VideoReader:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()

    def _decoded(self) -> Iterator[Any]:
        """Frames, and packets of sound and subtitles, as they come."""
        for packet in self._packets():
            if packet is None or packet.stream is self._stream:
                yield from self._decode(packet)
            elif packet.dts is not None and packet.stream in (*self.sounds, *self.subtitles):
                self._shift(packet)
                yield packet

    def _packets(self) -> Iterator[Any]:
        """All packets, and None at the end of those of a file that breaks off."""
        packets = self._container.demux()
        while True:
            try:
                packet = next(packets)
            except StopIteration:
                return
            except self._av.FFmpegError:
                self._failed = True
                yield None
                return
            if packet.pts is not None:
                end = (packet.pts + (packet.duration or 0)) * packet.time_base - self._start
                self.end = max(self.end, float(end))
            yield packet

    def _decode(self, packet: Any) -> list[Any]:
        try:
            return self._stream.decode(packet)
        except self._av.FFmpegError:
            self.damaged += 1
            return []

    def _shift(self, packet: Any) -> None:
        start = round(self._start / packet.time_base)
        packet.dts -= start
        if packet.pts is not None:
            packet.pts -= start

    def _pixels(self, frame: Any) -> np.ndarray:
        if (frame.height, frame.width) != (self._first.height, self._first.width):
            frame = frame.reformat(width=self._first.width, height=self._first.height, threads=CONVERTING_THREADS)
        colours = 'rgb48le' if self.kind.bits > 8 else 'rgb24'
        pixels = frame.to_ndarray(format=colours, threads=CONVERTING_THREADS)
        return np.ascontiguousarray(_rotate(pixels, self._turn))

    def _time(self, frame: Any) -> int:
        base = self.kind.time_base
        if frame.pts is None:
            time = self._last + max(round(1 / (self.kind.rate * base)), 1) if self._last >= 0 else 0
        else:
            time = round(frame.pts * frame.time_base / base - self._start / base)
        # two frames at one time cannot be written
        self._last = max(time, self._last + 1)
        return self._last


def _rotate(pixels: np.ndarray, turn: tuple[bool, bool, bool]) -> np.ndarray:
    exchanged, columns, rows = turn
    if exchanged:
        pixels = pixels.swapaxes(0, 1)
    return pixels[:: -1 if rows else 1, :: -1 if columns else 1]
