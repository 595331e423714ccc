"""How fast this machine copies memory and multiplies matrices."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Any

import torch

from .cases import Ceilings
from .protocol import spread, timer

# beyond all caches, and long enough to be timed
COPY_BYTES = {'cpu': 2**28, 'cuda': 2**30}
SIDE = {'cpu': 2048, 'cuda': 8192}
RUNS = 5


def measure_ceilings(
    device: str = 'cpu',
    dtype: torch.dtype = torch.float32,
    copy_bytes: int | None = None,
    side: int | None = None,
) -> Ceilings:
    """Copy bandwidth and the rate of a square matrix product, with the threads that PyTorch has now.

    Args:
        device: ``'cpu'`` or ``'cuda'``.
        dtype: Of the matrices.
        copy_bytes: What is copied.
        side: Rows and columns of the matrices.
    """
    load = os.getloadavg()[0] if hasattr(os, 'getloadavg') else None
    return Ceilings(
        _bandwidth(device, copy_bytes or COPY_BYTES[device]), _rate(device, dtype, side or SIDE[device]), load
    )


def _bandwidth(device: str, size: int) -> float:
    source = torch.ones(size, dtype=torch.uint8, device=device)
    target = torch.empty_like(source)
    return 2 * size / _fastest(lambda: target.copy_(source), device)


def _rate(device: str, dtype: torch.dtype, side: int) -> float:
    left, right = (torch.randn(side, side).to(device, dtype) for _ in range(2))
    out = torch.empty_like(left)
    return side**3 / _fastest(lambda: torch.mm(left, right, out=out), device)


def _fastest(run: Callable[[], Any], device: str) -> float:
    """A ceiling is what the machine can do: the 20 % quantile, which other work does not lower by much."""
    seconds = timer(device)
    run()
    return spread([seconds(run) for _ in range(RUNS)]).p20
