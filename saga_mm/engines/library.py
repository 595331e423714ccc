"""Import OpenVINO without its telemetry and warnings."""

from __future__ import annotations

import importlib
import logging
import sys
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from types import ModuleType
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    import openvino


@cache
def import_openvino() -> ModuleType:
    """OpenVINO, imported without the package by which it reports its use over the network, in a thread of its own."""
    reporter = 'openvino_telemetry'
    before = sys.modules.get(reporter)
    # to import what stands as None is an ImportError, for which OpenVINO has a stub
    sys.modules[reporter] = before
    try:
        return importlib.import_module('openvino')
    finally:
        if before is None:
            del sys.modules[reporter]


def tensor(array: np.ndarray) -> openvino.Tensor:
    """An array as OpenVINO takes it, in the same memory."""
    return import_openvino().Tensor(array, shared_memory=True)


@cache
def core() -> openvino.Core:
    """OpenVINO's core, of which a process has one."""
    return import_openvino().Core()


@contextmanager
def silence() -> Iterator[None]:
    """Without the warnings that tracers, exporters and converters give to their own developers."""
    before = logging.root.manager.disable
    with warnings.catch_warnings():
        warnings.simplefilter('ignore')
        logging.disable(logging.WARNING)
        try:
            yield
        finally:
            logging.disable(before)
