"""Sessions of ONNX Runtime, with errors in one line."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import TYPE_CHECKING

import numpy as np
import torch

from saga_mm.errors import ArgumentError, SagaError
from saga_mm.onnx.file import require_libraries

if TYPE_CHECKING:
    from onnxruntime import InferenceSession

RUNTIME = 'onnxruntime'
CPU, CUDA = 'CPUExecutionProvider', 'CUDAExecutionProvider'
SILENT = 4


def open_session(content: bytes, device: str | None = None, name: str | os.PathLike[str] = 'model') -> InferenceSession:
    """Prepare a model to be run.

    Args:
        content: The ONNX model. A file from others was checked by :func:`saga_mm.onnx.file.read_onnx`.
        device: ``'cpu'`` or ``'cuda:0'``; by default a GPU if this ONNX Runtime has one.
        name: Of the file, for messages.

    Raises:
        SagaError: onnxruntime is not installed, does not run on the device, or refuses the model.
    """
    require_libraries(RUNTIME, purpose='running an ONNX file')
    import onnxruntime

    options = onnxruntime.SessionOptions()
    # errors are raised and reported by this package; a user can change nothing about its warnings
    options.log_severity_level = SILENT
    options.intra_op_num_threads = torch.get_num_threads()
    # the arena takes twice the memory, and no less time for one image after the other
    options.enable_cpu_mem_arena = False
    # a model may begin with bytes that would otherwise be taken for a format that was not checked
    options.add_session_config_entry('session.load_model_format', 'ONNX')
    providers = _providers(device, onnxruntime.get_available_providers())
    try:
        return onnxruntime.InferenceSession(content, options, providers=providers)
    except Exception as error:
        # the errors of ONNX Runtime have no class in common
        raise SagaError(f'{name}: ONNX Runtime cannot run it ({_reason(error)})') from error


def run_session(session: InferenceSession, inputs: Mapping[str, np.ndarray], what: str) -> list[np.ndarray]:
    """All outputs of a model.

    Args:
        session: The model.
        inputs: Arrays by name.
        what: What they are, for messages.

    Raises:
        SagaError: ONNX Runtime fails, for example for want of memory.
    """
    try:
        return session.run(None, dict(inputs))
    except Exception as error:
        raise SagaError(f'ONNX Runtime fails on {what} ({_reason(error)})') from error


def _providers(device: str | None, available: list[str]) -> list[str]:
    """What runs the operators, the first that has one.

    Raises:
        SagaError: There is no such device.
    """
    kind, _, index = (device or '').partition(':')
    if kind == 'cpu' or (device is None and CUDA not in available):
        return [CPU]
    if device is None or (kind == 'cuda' and CUDA in available):
        return [(CUDA, {'device_id': int(index)}) if index.isdigit() else CUDA, CPU]
    problem = 'this ONNX Runtime does not have it; for CUDA: pip install onnxruntime-gpu'
    raise ArgumentError('device', device, problem)


def _reason(error: Exception) -> str:
    return ' '.join(str(error).split())[:200] or type(error).__name__
