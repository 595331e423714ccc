"""Checkpoints that a user names: whether they are there. Needs no torch."""

from __future__ import annotations

import os
from pathlib import Path

from saga_mm.errors import SagaError
from saga_mm.files import user_path


def require_checkpoint(path: str | os.PathLike[str]) -> Path:
    """A checkpoint file, or the folder of a training.

    Raises:
        SagaError: There is neither.
    """
    found = user_path(path)
    if not found.exists():
        raise SagaError(f'checkpoint {found}: no such file or work folder')
    return found


def require_checkpoint_file(path: str | os.PathLike[str]) -> Path:
    """A checkpoint file.

    Raises:
        SagaError: There is none, or it is a folder or empty.
    """
    file = user_path(path)
    if file.is_dir():
        raise SagaError(f'checkpoint {path}: is a folder; name one .pth file in it')
    if not file.is_file():
        raise SagaError(f'checkpoint {path}: no such file')
    if file.stat().st_size == 0:
        raise SagaError(f'checkpoint {path}: is empty (0 bytes), as a save that was cut short leaves it')
    return file
