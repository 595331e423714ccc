"""Low-light enhancement of what a camera sees, into a video file."""

from __future__ import annotations

import time
from collections.abc import Callable
from fractions import Fraction
from pathlib import Path

from saga_mm.errors import SagaError
from saga_mm.images.video_reader import VideoKind
from saga_mm.images.video_writer import VideoWriter
from saga_mm.models.enhancement import LowLightEnhancer
from saga_mm.models.enhancement.carry import DECAY
from saga_mm.models.enhancement.finish import AS_IT_IS, Finish
from saga_mm.rows import MemoryBudget

from .video import CODEC_BYTES, EnhancedVideo, VideoEnhancer

USUAL_RATE = 30


def enhance_camera(
    number: int,
    target: str | Path,
    model: LowLightEnhancer,
    is_over: Callable[[], bool],
    finish: Finish = AS_IT_IS,
    decay: float = DECAY,
    max_memory: int | MemoryBudget | None = None,
) -> EnhancedVideo:
    """Enhance a camera's pictures into a video, which plays as fast as they were taken.

    Args:
        number: Of the camera, from 0.
        target: The file to write; it appears when it is complete.
        model: The model, in evaluation mode.
        is_over: Asked after each picture.
        finish: What becomes of the answers.
        decay: As of :class:`VideoEnhancer`.
        max_memory: As of :class:`VideoEnhancer`.

    Raises:
        SagaError: The camera gives no picture, the file cannot be written, or the memory is too small.
    """
    import cv2

    cv2.setLogLevel(0)
    camera = cv2.VideoCapture(number)
    try:
        # else the pictures would be older and older
        camera.set(cv2.CAP_PROP_BUFFERSIZE, 1)
        found, picture = camera.read()
        if not found:
            raise SagaError(f'{number}: no picture from this camera; is it connected, and used by no other program?')
        height, width = picture.shape[:2]
        rate = Fraction(camera.get(cv2.CAP_PROP_FPS) or USUAL_RATE).limit_denominator(1001)
        kind, count, start = VideoKind(height, width, rate, Fraction(1, 1000)), 0, time.monotonic()
        enhance = VideoEnhancer(model, finish, decay, max_memory, CODEC_BYTES * height * width, Path(target).parent)
        with VideoWriter(target, kind) as writer:
            while found:
                taken = round(1000 * (time.monotonic() - start))
                writer.write(enhance(picture[..., ::-1]), taken)
                count += 1
                if is_over():
                    break
                found, picture = camera.read()
    finally:
        camera.release()
    return EnhancedVideo(height, width, count, enhance.scenes, '' if found else 'the camera gave no more')
