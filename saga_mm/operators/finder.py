"""Let ``import mmcv._ext`` find the substitutes where mmcv has no compiled operators."""

from __future__ import annotations

import importlib.util
import sys
import warnings
from importlib.machinery import ModuleSpec
from pathlib import Path

NAME = 'mmcv._ext'
SUBSTITUTES = Path(__file__).with_name('extension.py')


class OperatorFinder:
    """An import finder for one name. It stands last, so that compiled operators are found before it is asked."""

    @staticmethod
    def find_spec(name: str, path: object = None, target: object = None) -> ModuleSpec | None:
        return importlib.util.spec_from_file_location(NAME, SUBSTITUTES) if name == NAME else None


def install() -> None:
    """Add the finder to Python's, once; warn if mmdet was imported before and went without operators."""
    if OperatorFinder in sys.meta_path:
        return
    # last, so that Python finds compiled operators first
    sys.meta_path.append(OperatorFinder)
    if 'mmdet.structures' in sys.modules and 'mmcv.ops' not in sys.modules:
        warnings.warn(
            'mmdet was imported before saga_mm, and mmcv has no compiled operators. Import saga_mm first, or run '
            '`python -m saga_mm.operators` once, which adds the operators to mmcv',
            stacklevel=2,
        )
