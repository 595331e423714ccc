"""Trainings and exports of tests without what is done for people, and for each of them anew."""

import copy
import gc
import os
import sys
from functools import cache
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path

import pytest

TESTS = Path(__file__).resolve().parent
# where no test writes
OWN = (TESTS.parent / 'configs', TESTS)


def make_runners_quick(patch: pytest.MonkeyPatch) -> None:
    """Runners of mmengine do not lay out their config, ten times a training, and ask once for versions of compilers.

    Tools that tests start as programs do all of that.
    """
    runner = sys.modules.get('mmengine.runner.runner')
    if runner is not None:
        for module in ('mmengine.config.config', 'yapf.yapflib.yapf_api'):
            patch.setattr(f'{module}.FormatCode', lambda text, **_: (text, True), raising=False)
        patch.setattr(runner, 'collect_env', cache(runner.collect_env))


def read_configs_once(patch: pytest.MonkeyPatch) -> None:
    """mmengine reads each file of the repository's configs once, not for every config that inherits from it."""
    config, known = sys.modules.get('mmengine.config.config'), {}
    if config is None:
        return
    read = config.Config._file2dict

    def read_once(filename: str, *args: object, **options: object) -> tuple:
        path = Path(filename).resolve()
        if not any(path.is_relative_to(folder) for folder in OWN):
            return read(filename, *args, **options)
        key = (path, args, *sorted(options.items()))
        if key not in known:
            known[key] = read(filename, *args, **options)
        # whoever reads a config may change it
        return copy.deepcopy(known[key])

    patch.setattr(config.Config, '_file2dict', staticmethod(read_once))


def wait_for_no_disk(patch: pytest.MonkeyPatch) -> None:
    """Files need not outlive a power cut: a training waits for the disk thirty times."""
    patch.setattr(os, 'fsync', lambda handle: None)


def make_exports_quick(patch: pytest.MonkeyPatch) -> None:
    """PyTorch's exporter lists its operators once, not for each graph."""
    if find_spec('onnxscript') is None:
        return
    module = import_module('torch.onnx._internal.exporter._registration')
    patch.setattr(module.ONNXRegistry, 'from_torchlib', staticmethod(cache(module.ONNXRegistry.from_torchlib)))
    # each opset has a list of its own, of the same functions
    patch.setattr(module.onnxscript_apis, 'get_torchlib_ops', cache(module.onnxscript_apis.get_torchlib_ops))


def keep_what_is_loaded() -> None:
    """What is loaded by now stays: collections of garbage, which data sets of mmengine ask for, pass over it.

    They are also rarer: tracing a network makes many objects, and 700 of them are no reason to look at all.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(50_000, 20, 50)
