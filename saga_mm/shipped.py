"""Names and files of the enhancer's weights that come with the package; needs no torch."""

from __future__ import annotations

import os
from pathlib import Path

from saga_mm.errors import SagaError, nearest
from saga_mm.files import user_path

FOLDER = Path(__file__).resolve().parent / 'weights'
SUFFIX = '.npz'


def shipped_weights() -> list[str]:
    """Names of the weights that come with the package."""
    return sorted(path.stem for path in FOLDER.glob(f'*{SUFFIX}'))


def find_weights(name: str | os.PathLike[str]) -> Path:
    """The file of weights that come with the package, by name, or a file of one's own.

    Raises:
        SagaError: There is neither.
    """
    path = user_path(name)
    if path.is_file():
        return path
    if path.is_dir():
        raise SagaError(f'weights {name}: is a folder; name one {SUFFIX} file in it')
    if str(name) in shipped_weights():
        return FOLDER / f'{name}{SUFFIX}'
    known = shipped_weights()
    hint = nearest(str(name), known, '; did you mean {}?')
    raise SagaError(
        f'weights {name}: no such file, and not among those that come with saga_mm ({", ".join(known) or "none"}){hint}'
    )
