"""Check that the files that a command line names exist, before the import of torch, which takes seconds."""

from __future__ import annotations

import glob
from collections.abc import Sequence
from pathlib import Path

from saga_mm.errors import SagaError
from saga_mm.files import user_path
from saga_mm.loading.config import CONFIG_SUFFIXES, find_config
from saga_mm.loading.named_files import require_checkpoint
from saga_mm.shipped import SUFFIX, find_weights, shipped_weights

EXPORTED = '.onnx'


def require_model(name: str) -> None:
    """A config file, an exported file or weights of an enhancer; other words may be names of backbones.

    Raises:
        SagaError: There is no such file.
    """
    suffix = Path(name).suffix.lower()
    if suffix == EXPORTED:
        if not user_path(name).exists():
            raise SagaError(f'{name}: no such file')
    elif suffix == SUFFIX:
        find_weights(name)
    elif suffix in CONFIG_SUFFIXES:
        find_config(name)


def require_run(config: str, checkpoint: str | None) -> None:
    """A config and a checkpoint of it.

    Raises:
        SagaError: One is missing.
    """
    if checkpoint is not None and Path(checkpoint).suffix == '.py':
        raise SagaError(f'checkpoint {checkpoint}: is a config, which comes first: CONFIG CHECKPOINT')
    require_model(config)
    if checkpoint is not None:
        require_checkpoint(checkpoint)


def require_weights(name: str) -> None:
    """Weights of an enhancer: those of the package by name, or a file.

    Raises:
        SagaError: There are none.
    """
    if Path(name).suffix.lower() == EXPORTED:
        require_model(name)
    elif name not in shipped_weights():
        find_weights(name)


def any_there(names: Sequence[str]) -> bool:
    """Whether a file, a folder or a match of a pattern is there."""
    return any(user_path(name).exists() or (glob.has_magic(name) and glob.glob(name, recursive=True)) for name in names)


def require_pictures(source: str) -> None:
    """A picture or a folder.

    Raises:
        SagaError: There is neither.
    """
    from saga_mm.images.picture_folders import require_there

    require_there(source)
