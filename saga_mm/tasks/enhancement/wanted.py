"""Strength, brightness and denoising as users ask for them, checked."""

from __future__ import annotations

import os

import numpy as np

from saga_mm.errors import ArgumentError, SagaError
from saga_mm.files import user_path
from saga_mm.models.enhancement.finish import Finish, check_finish

# the brightness that a model predicts
AUTO = 'auto'
# of a picture to match, read at a time
MATCHED_ROWS = 64


def wanted_finish(
    strength: float = 1.0,
    brightness: float | str = AUTO,
    match: str | os.PathLike[str] | None = None,
    denoise: float = 1.0,
) -> Finish:
    """What users ask for, checked; a picture to match is read.

    Raises:
        SagaError: A number is out of range, or the picture cannot be read.
    """
    if strength == 0:
        asked = {'brightness': brightness != AUTO, 'match': match is not None, 'denoise': denoise != 1}
        if others := [name for name, is_asked in asked.items() if is_asked]:
            given = f'and {others[0]} would change nothing; leave one of them out'
            raise ArgumentError('strength', strength, f'leaves the picture as it is, {given}')
    if match is not None:
        if brightness != AUTO:
            raise ArgumentError('match', match, f'brightness={brightness} is asked for as well; leave one of them out')
        return check_finish(Finish(strength, _mean_luminance(match), denoise))
    if isinstance(brightness, str):
        brightness = None if brightness == AUTO else _number(brightness)
    return check_finish(Finish(strength, brightness, denoise))


def _number(text: str) -> float | str:
    try:
        return float(text)
    except ValueError:
        return text


def _mean_luminance(path: str | os.PathLike[str]) -> float:
    """Of a photograph, in (0, 1)."""
    from saga_mm.images.photo import PhotoRows
    from saga_mm.images.photo_writer import LUMA

    try:
        with PhotoRows(user_path(path)) as photo:
            cuts = [(start, min(start + MATCHED_ROWS, photo.height)) for start in range(0, photo.height, MATCHED_ROWS)]
            total = sum(float((photo.read(*cut) @ LUMA).sum(dtype=np.float64)) for cut in cuts)
            level = total / (photo.height * photo.width)
    except SagaError as error:
        raise ArgumentError('match', path, f'cannot be read as a picture: {error}') from error
    if not 0 < level < 1:
        raise ArgumentError('match', path, f'is {"black" if level <= 0 else "white"} everywhere; name another picture')
    return level
