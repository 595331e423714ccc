"""The device of a model."""

from __future__ import annotations

import os

import torch

from saga_mm.errors import ArgumentError, nearest

COMMON = ('cpu', 'cuda', 'cuda:1', 'mps')


def find_device(name: str | None) -> torch.device:
    """The device of this name, or a GPU if there is one: of several processes on a machine, each takes its own.

    Raises:
        ArgumentError: It is not there.
    """
    try:
        device = torch.device(name or _best())
    except RuntimeError as error:
        problem = f'no such device; {nearest(str(name), COMMON)}choose for example one of {", ".join(COMMON)}'
        raise ArgumentError('device', name, problem) from error
    try:
        torch.zeros(1, device=device)
    except (RuntimeError, AssertionError, NotImplementedError) as error:
        raise ArgumentError('device', name, f'is not there ({str(error).splitlines()[0]})') from error
    return device


def _best() -> str:
    backends = {'cuda': torch.cuda, 'npu': getattr(torch, 'npu', None), 'mps': torch.backends.mps}
    name = next((name for name, backend in backends.items() if backend and backend.is_available()), 'cpu')
    local = os.environ.get('LOCAL_RANK', os.environ.get('SLURM_LOCALID', ''))
    if name != 'cuda' or not local.isdecimal():
        return name
    return f'cuda:{int(local) % torch.cuda.device_count()}'
