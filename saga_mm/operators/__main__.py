"""Add the operators to an mmcv that has none, for scripts that import mmdet before saga_mm.

usage: python -m saga_mm.operators [--remove]

Writes the file ``_ext.py`` into mmcv's folder. Where mmcv has compiled operators, nothing is written.
"""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path

from saga_mm.errors import SagaError
from saga_mm.files import write_file

from .finder import NAME

TEXT = '''"""Operators of saga_mm where mmcv has none. `python -m saga_mm.operators` wrote this; --remove removes it."""

from saga_mm.operators.extension import *
from saga_mm.operators.extension import STANDS_IN, __getattr__
'''


def main(arguments: list[str]) -> str:
    """Do it, and say what was done."""
    if set(arguments) - {'--remove'}:
        return __doc__
    mmcv = importlib.util.find_spec('mmcv')
    if mmcv is None or mmcv.origin is None:
        raise SagaError('mmcv is not installed')
    file = Path(mmcv.origin).with_name('_ext.py')
    if '--remove' in arguments:
        file.unlink(missing_ok=True)
        return f'{file} is removed'
    compiled = [found for found in file.parent.glob('_ext.*') if found != file]
    if compiled:
        return f'{NAME} is compiled already: {compiled[0]}'
    write_file(file, TEXT)
    return f'wrote {file}'


if __name__ == '__main__':
    try:
        print(main(sys.argv[1:]))
    except SagaError as error:
        sys.exit(f'error: {error}')
