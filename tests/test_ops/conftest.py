"""The kernels run in Triton's interpreter where there is no GPU."""

import importlib
import os
import sys

import pytest
import torch

from saga_mm.ops.triton import available

KERNELS = 'saga_mm.ops.triton'
INTERPRET = 'TRITON_INTERPRET'


def _import_interpreted() -> None:
    """Import the kernels with a Triton of their own that interprets them.

    Triton decides that when it is imported, for all of a process, and by now it may be. So the kernels get a second
    copy of its Python files, and everything else in the process keeps the first.
    """
    before = os.environ.get(INTERPRET)
    first = _forget('triton')
    _forget(f'{KERNELS}.')
    os.environ[INTERPRET] = '1'
    try:
        for name in ('read', 'write'):
            importlib.import_module(f'{KERNELS}.{name}')
    finally:
        _forget('triton')
        sys.modules.update(first)
        os.environ.pop(INTERPRET)
        if before is not None:
            os.environ[INTERPRET] = before


def _forget(start: str) -> dict:
    # the compiled part of Triton exists once
    names = [name for name in sys.modules if name.startswith(start) and not name.startswith('triton._C')]
    return {name: sys.modules.pop(name) for name in names}


if available() and not torch.cuda.is_available():
    _import_interpreted()


@pytest.fixture
def device(monkeypatch: pytest.MonkeyPatch) -> str:
    """Where the kernels run: on a GPU, or on the CPU in Triton's interpreter."""
    if not available():
        pytest.skip('Triton is not installed')
    if torch.cuda.is_available():
        return 'cuda'
    monkeypatch.setenv(INTERPRET, '1')
    return 'cpu'
