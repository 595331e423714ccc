"""Checkpoints that hold what a checkpoint should not."""

import io
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from saga_mm.errors import SagaError
from saga_mm.loading.checkpoint import load_checkpoint

WEIGHTS = {'layer.weight': torch.arange(6.0).reshape(2, 3)}
RECONSTRUCT = np.zeros(1).__reduce__()[0]
SCALAR = np.float64(1).__reduce__()[0]


class Built:
    """Pickles as a call, whose result is then given a state, and items as those of a dict."""

    def __init__(self, function: Any, args: tuple, state: Any = None, items: dict | None = None) -> None:
        self.reduced = (function, args) if state is None else (function, args, state)
        if items is not None:
            self.reduced += None, iter(items.items())

    def __reduce__(self) -> tuple:
        return self.reduced


def pickled_array(shape: Any, kind: Any, content: Any, fortran: Any = False) -> Built:
    return Built(RECONSTRUCT, (np.ndarray, (0,), b'b'), (1, shape, kind, fortran, content))


def refused(path: Path, extra: Any, words: str) -> None:
    torch.save({'state_dict': WEIGHTS, 'extra': extra}, path)
    with pytest.raises(SagaError, match=words) as caught:
        load_checkpoint(path)
    assert '\n' not in str(caught.value)


def save_pickle(path: Path, pickle: bytes) -> None:
    """Write a checkpoint with this pickle."""
    content = io.BytesIO()
    torch.save(WEIGHTS, content)
    with zipfile.ZipFile(content) as old, zipfile.ZipFile(path, 'w') as new:
        for name in old.namelist():
            new.writestr(name, pickle if name.endswith('data.pkl') else old.read(name))
