"""Fixtures that several test files use."""

import runpy
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch

from benchmarks.parity import GoldenCase, load_case

GOLDEN = Path(__file__).parent / 'golden'


@pytest.fixture(autouse=True)
def seeded() -> None:
    """Every test draws the same numbers, whichever ran before it."""
    torch.manual_seed(0)


@pytest.fixture(autouse=True, scope='session')
def own_cache(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Compiled steps are kept in a folder of the tests, not in the user's."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv('SAGA_MM_CACHE', str(tmp_path_factory.mktemp('cache')))
        yield


@pytest.fixture
def golden() -> Callable[[str], GoldenCase]:
    """Load a golden case by name."""
    return partial(load_case, GOLDEN)


@pytest.fixture(scope='session')
def make_video() -> Callable[..., Path]:
    """Write a small video; see ``video_file.py``."""
    return runpy.run_path(str(Path(__file__).with_name('video_file.py')))['make_video']


@pytest.fixture(scope='session')
def onnx_models() -> SimpleNamespace:
    """Small ONNX models; see ``onnx_models.py``."""
    pytest.importorskip('onnx')
    return SimpleNamespace(**runpy.run_path(str(Path(__file__).with_name('onnx_models.py'))))
