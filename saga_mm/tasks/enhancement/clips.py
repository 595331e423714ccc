"""Enhance videos from file to file."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from saga_mm.display.before_after import BeforeAfter, sheet_size
from saga_mm.errors import SagaError
from saga_mm.images.inputs import Job
from saga_mm.images.video_kind import stated_size
from saga_mm.images.video_reader import Frame, VideoReader
from saga_mm.images.video_writer import VideoWriter
from saga_mm.models.enhancement.finish import AS_IT_IS, Finish
from saga_mm.tasks.enhancement.exported import ExportedEnhancer
from saga_mm.tasks.enhancement.video import EnhancedVideo, codec_bytes, enhance_video, require_memory

if TYPE_CHECKING:
    from saga_mm.tasks.enhancement.inferencer import LowLightInferencer

# pixels of the longest side before and after
COMPARED_SIDE = 1920
# bytes a pixel of a frame that are taken to reduce it, before and after
DRAWING_BYTES = 60


def enhance_moving(
    inferencer: LowLightInferencer,
    job: Job,
    finish: Finish = AS_IT_IS,
    compared: Path | None = None,
    tell: Callable[[float], None] | None = None,
) -> str:
    """Enhance a video into another.

    Args:
        inferencer: What enhances.
        job: What to do.
        finish: Strength, brightness and denoising.
        compared: Where before and after go, side by side and without sound.
        tell: Called with the share that is done, up to 1.

    Returns:
        Its size and length, and what could not be read of it, for the screen.

    Raises:
        SagaError: It cannot be done.
    """
    if isinstance(inferencer.model, ExportedEnhancer):
        raise SagaError(
            f'{job.source}: an exported enhancer carries no tone from frame to frame, so that a video would flicker; '
            'enhance it with weights, such as tiny'
        )
    options = {'finish': finish, 'max_memory': inferencer.budget}
    if compared is not None and finish.strength and (size := stated_size(job.source)) is not None:
        require_memory(job.source, inferencer.model, inferencer.budget, _comparison_bytes(*size[:2]))
    with _Comparison(compared, job.source) if compared is not None else nullcontext() as show:
        done = enhance_video(job.source, job.target, inferencer.model, tell=tell, show=show, **options)
    return _text(done)


def video_megapixels(path: Path) -> float:
    """The pixels of all frames of a video, in millions.

    Raises:
        SagaError: It cannot be read.
    """
    with VideoReader(path) as video:
        return video.kind.height * video.kind.width * (video.frames or 1) / 1e6


def _text(done: EnhancedVideo) -> str:
    missing = ''.join(f'; {what}' for what in (done.notes, done.missing) if what)
    return f'{done.width} x {done.height}, {done.frames} frames{missing}'


class _Comparison:
    """A video of before and after, side by side.

    Attributes:
        held_bytes: About how much it holds.
    """

    def __init__(self, path: Path, source: Path) -> None:
        with VideoReader(source) as video:
            kind = video.kind
        height, width = _compared_size(kind.height, kind.width)
        # drawn in 8 bits, as brightness of today's screens
        sdr = {'bits': 8, 'colours': () if kind.is_hdr else kind.colours}
        drawn = kind._replace(height=height, width=width, **sdr)
        self.held_bytes = _comparison_bytes(kind.height, kind.width)
        self._writer = VideoWriter(path, drawn)

    def __call__(self, frame: Frame, answer: np.ndarray) -> None:
        """The next frame, before and after."""
        self._writer.write(_side_by_side(frame.pixels, answer), frame.time)

    def __enter__(self) -> _Comparison:
        return self

    def __exit__(self, *error: Any) -> None:
        self._writer.__exit__(*error)


def _comparison_bytes(height: int, width: int) -> int:
    return codec_bytes(*_compared_size(height, width), 8) + DRAWING_BYTES * height * width


def _compared_size(height: int, width: int) -> tuple[int, int]:
    """Of :func:`_side_by_side`, with even sides, which every player takes."""
    return tuple(side + side % 2 for side in sheet_size(height, width, COMPARED_SIDE))


def _side_by_side(before: np.ndarray, after: np.ndarray) -> np.ndarray:
    sheet = BeforeAfter(*before.shape[:2], COMPARED_SIDE)
    highest = np.float32(np.iinfo(before.dtype).max)
    sheet.add(before / highest, after / highest)
    drawn = np.asarray(sheet.drawn())
    return np.pad(drawn, [(0, side % 2) for side in drawn.shape[:2]] + [(0, 0)], constant_values=255)
