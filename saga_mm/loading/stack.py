"""Check that the OpenMMLab libraries are installed and fit together."""

from __future__ import annotations

import importlib
import importlib.util
from typing import TYPE_CHECKING

from saga_mm.errors import SagaError
from saga_mm.loading.quiet import quiet_imports

if TYPE_CHECKING:
    from mmengine.config import Config

CURE = "`make setup` in a checkout, or pip install 'saga-mm[onedl]', installs what is needed"


def require_stack(*packages: str) -> None:
    """Import the libraries that a tool needs, mmcv's operators first.

    Args:
        packages: Further libraries, such as ``'mmdet'``.

    Raises:
        SagaError: One is missing, or does not work with the others.
    """
    for package in ('mmengine', 'mmcv', *packages):
        if importlib.util.find_spec(package) is None:
            raise SagaError(f'{package} is not installed; {CURE}')
    with quiet_imports():
        _import_ops()
        for package in packages:
            _import(package)


def require_stack_for(cfg: Config) -> None:
    """The same, for the library that the names in a config are looked up in; our own needs no further one."""
    require_stack(*{cfg.get('default_scope')} & {'mmdet', 'mmseg'})


def _import_ops() -> None:
    import torch

    try:
        importlib.import_module('mmcv._ext')
    except ModuleNotFoundError as error:
        raise SagaError(f'mmcv needs {error.name}, which is not installed; {CURE}') from error
    except ImportError as error:
        raise SagaError(
            f"mmcv's compiled operators do not fit torch {torch.__version__} ({error}); {CURE}, without compiled ones"
        ) from error


def _import(package: str) -> None:
    try:
        for name in (package, f'{package}.models', f'{package}.datasets', f'{package}.visualization'):
            importlib.import_module(name)
    except ModuleNotFoundError as error:
        raise SagaError(f'{package} needs {error.name}, which is not installed; {CURE}') from error
    except AssertionError as error:
        # how the original libraries check each other's versions
        raise SagaError(f'{package} does not work with what is installed: {error}; {CURE}') from error
