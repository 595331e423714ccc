"""Fixtures that several test files use."""

import gc
import os
import runpy
import signal
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING

import pytest
import torch
from torch import nn

if TYPE_CHECKING:
    from benchmarks.parity import GoldenCase

# what is imported and collected stays, and is not looked at for garbage meanwhile
gc.disable()
TESTS = Path(__file__).parent
GOLDEN = TESTS / 'golden'
QUICK = runpy.run_path(str(TESTS / 'quick_runners.py'))
Forker = runpy.run_path(str(TESTS / 'forked.py'))['Forker']
FORKER = pytest.StashKey[Forker]()
# here torch is imported, and nothing of the package or of the stack
BARE_FORKER = Forker() if hasattr(os, 'fork') else None
# files that take longest, longest first
LONGEST = [
    'test_engines/test_openvino.py',
    'test_runs/test_export.py',
    'test_parallel/test_trainings.py',
    'test_tools/test_segmentation.py',
    'test_pages/test_static_page.py',
    'test_loading/test_convert.py',
    'test_models/test_compile.py',
    'test_parallel/test_bands.py',
    'test_configs.py',
    'test_engines/test_stack.py',
    'test_tools/test_train.py',
    'test_export/test_strip_graphs.py',
    'test_pages/test_app.py',
    'test_models/test_backbones/test_rows.py',
    'test_benchmarks/test_run.py',
    'test_packaging.py',
    'test_tools/test_memory_promise.py',
    'test_analysis/test_cost.py',
    'test_tools/test_benchmark.py',
    'test_tools/test_classification.py',
    'test_tools/test_enhance.py',
    'test_models/test_backbones/test_pyramid_backbone.py',
    'test_models/test_backbones/test_named.py',
    'test_models/test_export.py',
    'test_ops/test_triton/test_write.py',
    'test_tools/test_lowlight.py',
    'test_models/test_openmmlab/test_labels.py',
    'test_tools/test_test.py',
    'test_engine/test_hooks.py',
    'test_tools/test_predict.py',
]


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """The longest files first: processes that are given whole files then end at about the same time."""
    rank = {TESTS / name: number for number, name in enumerate(LONGEST)}
    items.sort(key=lambda item: rank.get(item.path, len(rank)))


def pytest_collection_finish() -> None:
    """Nothing that was imported for the tests is looked at again for garbage."""
    QUICK['keep_what_is_loaded']()


@pytest.hookimpl(tryfirst=True)
def pytest_runtestloop(session: pytest.Session) -> None:
    """Processes are forked from one that has imported all tests, and run none."""
    gc.enable()
    if BARE_FORKER and any('forker' in getattr(item, 'fixturenames', ()) for item in session.items):
        session.stash[FORKER] = Forker()


@pytest.fixture(scope='session')
def forker(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Forker]:
    """Starts programs without their imports; see ``forked.py``."""
    yield from _use(request.session.stash.get(FORKER, None), tmp_path_factory)


@pytest.fixture(scope='session')
def bare_forker(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Forker]:
    """Starts programs where torch alone is imported."""
    yield from _use(BARE_FORKER, tmp_path_factory)


def _use(forker: Forker | None, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Forker]:
    if forker is None:
        pytest.skip('forks processes, which this system does not')
    forker.folder = tmp_path_factory.mktemp('forked')
    yield forker
    forker.close()


@pytest.fixture(autouse=True, scope='session')
def quick_runners() -> Iterator[None]:
    """See ``quick_runners.py``."""
    with pytest.MonkeyPatch.context() as patch:
        QUICK['make_runners_quick'](patch)
        QUICK['read_configs_once'](patch)
        QUICK['wait_for_no_disk'](patch)
        yield


@pytest.fixture(scope='session')
def quick_exports() -> Iterator[None]:
    """See ``quick_runners.py``."""
    with pytest.MonkeyPatch.context() as patch:
        QUICK['make_exports_quick'](patch)
        yield


@pytest.fixture(autouse=True)
def seeded() -> None:
    """Every test draws the same numbers, whichever ran before it."""
    torch.manual_seed(0)


@pytest.fixture(autouse=True)
def loading_as_it_was(monkeypatch: pytest.MonkeyPatch) -> None:
    """The tools forbid unsafe loading for the whole process; other tests may need it to show what it does."""
    monkeypatch.setenv('TORCH_FORCE_WEIGHTS_ONLY_LOAD', '')


@pytest.fixture(autouse=True)
def signals_as_they_were() -> Iterator[None]:
    """Tools that run in the process of a test handle signals until they end, which is after the test."""
    before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    yield
    for number, handler in before.items():
        # None: it was not set by Python
        if handler is not None:
            signal.signal(number, handler)


@pytest.fixture(autouse=True, scope='session')
def own_cache(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Compiled steps are kept in a folder of the tests, not in the user's."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv('SAGA_MM_CACHE', str(tmp_path_factory.mktemp('cache')))
        yield


@pytest.fixture(scope='session')
def golden() -> Callable[[str], 'GoldenCase']:
    """Load a golden case by name."""
    from benchmarks.parity import load_case

    return partial(load_case, GOLDEN)


@pytest.fixture
def without_first_weights(monkeypatch: pytest.MonkeyPatch) -> None:
    """Models are built without random weights, which takes long of large ones: for tests that load all of them."""
    for name in ('trunc_normal_', 'kaiming_uniform_', 'normal_', 'uniform_'):
        monkeypatch.setattr(nn.init, name, lambda tensor, *_, **__: tensor)


class NotingActivation(nn.Module):
    """An activation that notes how many numbers it is given at once."""

    def __init__(self, activation: nn.Module, sizes: list[int]) -> None:
        super().__init__()
        self.activation, self.sizes = activation, sizes

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        self.sizes.append(x.numel())
        return self.activation(x)


@pytest.fixture(scope='session')
def note_sizes() -> Callable[[nn.Module], list[int]]:
    """Have the GELUs of a network append to a list how many numbers they are given at once; the list is returned."""

    def note(net: nn.Module) -> list[int]:
        sizes = []
        for name, module in list(net.named_modules()):
            if isinstance(module, nn.GELU):
                net.set_submodule(name, NotingActivation(module, sizes).train(module.training))
        return sizes

    return note


@pytest.fixture(scope='session')
def make_video() -> Callable[..., Path]:
    """Write a small video; see ``video_file.py``."""
    return runpy.run_path(str(Path(__file__).with_name('video_file.py')))['make_video']


@pytest.fixture(scope='session')
def onnx_models() -> SimpleNamespace:
    """Small ONNX models; see ``onnx_models.py``."""
    pytest.importorskip('onnx')
    return SimpleNamespace(**runpy.run_path(str(Path(__file__).with_name('onnx_models.py'))))
