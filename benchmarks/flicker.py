"""How much the brightness of a video flickers."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import NamedTuple

import numpy as np

from saga_mm.datasets.low_light.darken import SynthesizeLowLight
from saga_mm.models.enhancement import LowLightEnhancer
from saga_mm.models.enhancement.carry import DECAY
from saga_mm.tasks.enhancement.video import LUMA, VideoEnhancer

# of SynthesizeLowLight: photons and reading alone, as the published figures of flicker have it
PLAIN = {
    'cast': 0.0,
    'headroom': (0.0, 0.0),
    'contrast': (0.0, 0.0),
    'row_noise': (0.0, 0.0),
    'black_level': 0.0,
    'matrix': 0.0,
    'mosaic': 0.0,
    'smeared': 0.0,
    'lossless': 0.0,
}


class Flicker(NamedTuple):
    """Flicker in grey levels of 255.

    Attributes:
        source: Of the video itself.
        alone: Of its frames enhanced one by one.
        carried: Of its frames enhanced with what is carried from one to the next.
    """

    source: float
    alone: float
    carried: float


def measure_flicker(
    model: LowLightEnhancer,
    frames: Sequence[np.ndarray],
    decay: float = DECAY,
    tell: Callable[[], None] = lambda: None,
) -> Flicker:
    """The flicker of a video, and of what a model makes of it.

    Args:
        model: The model, in evaluation mode.
        frames: Two at least, ``(H, W, 3)`` uint8, RGB.
        decay: As of :class:`VideoEnhancer`.
        tell: Called after each frame that was enhanced, twice for each of the video.
    """

    def enhanced(decay: float) -> Iterator[np.ndarray]:
        enhance = VideoEnhancer(model, decay=decay)
        for frame in frames:
            yield enhance(frame)
            tell()

    return Flicker(*map(mean_change, (frames, enhanced(0.0), enhanced(decay))))


def mean_change(frames: Iterable[np.ndarray]) -> float:
    """Mean absolute change of the mean luminance from frame to frame, in grey levels.

    On a static scene all of it is flicker.

    Args:
        frames: Two at least, ``(H, W, 3)`` uint8, RGB.

    Raises:
        ValueError: If there are fewer.
    """
    levels = [float(frame.mean((0, 1)) @ np.array(LUMA)) for frame in frames]
    if len(levels) < 2:
        raise ValueError('flicker is a change: it needs two frames')
    return float(np.abs(np.diff(levels)).mean())


def static_scene(
    picture: np.ndarray, count: int, exposure: float = 3.0, electrons: float = 500.0, seed: int = 0
) -> Iterator[np.ndarray]:
    """Frames of a picture taken with too little light, with fresh noise in each; see :class:`SynthesizeLowLight`.

    Args:
        picture: ``(H, W, 3)`` uint8, RGB.
        count: Frames.
        exposure: How many stops darker.
        electrons: Counted by a pixel at the value 255: fewer are more noise.
        seed: Of the noise.
    """
    camera = SynthesizeLowLight(
        exposure=(exposure, exposure),
        electrons=(electrons, electrons),
        read_noise=(4.0, 4.0),
        quality=(80, 80),
        **PLAIN,
    )
    rng = np.random.default_rng(seed)
    for _ in range(count):
        yield np.ascontiguousarray(camera.darken(picture[..., ::-1], rng)[..., ::-1])
