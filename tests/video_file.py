"""Makes small videos for tests."""

from collections.abc import Iterable
from pathlib import Path

import av
import numpy as np


def make_video(
    path: Path,
    frames: Iterable[np.ndarray],
    rate: int = 10,
    codec: str = 'libx264',
    options: dict[str, str] | None = None,
    sound: str | None = None,
    rotation: float = 0,
    colours: tuple[int, int] | None = None,
    **container_options: str,
) -> Path:
    """Write frames ``(H, W, 3)`` uint8 RGB as a video, perhaps with a tone of the same length."""
    with av.open(str(path), 'w', container_options=container_options) as file:
        frames = list(frames)
        pictures = file.add_stream(codec, rate=rate, options=options or {})
        pictures.height, pictures.width = frames[0].shape[:2]
        even = pictures.height % 2 == pictures.width % 2 == 0
        pictures.pix_fmt = 'yuv420p' if even else 'yuv444p'
        if rotation:
            pictures.set_display_rotation(rotation)
        if colours:
            pictures.codec_context.colorspace, pictures.codec_context.color_range = colours
        tone = file.add_stream(sound, rate=48000, layout='mono') if sound else None
        for pixels in frames:
            frame = av.VideoFrame.from_ndarray(pixels, format='rgb24')
            if colours:
                frame.colorspace, frame.color_range = colours
            file.mux(pictures.encode(frame.reformat(format=pictures.pix_fmt)))
        file.mux(pictures.encode(None))
        if tone is not None:
            samples = (3000 * np.sin(np.arange(48000 * len(frames) // rate) / 20)).astype(np.int16)
            frame = av.AudioFrame.from_ndarray(samples[None], format='s16', layout='mono')
            frame.sample_rate = 48000
            file.mux(tone.encode(frame))
            file.mux(tone.encode(None))
    return path
