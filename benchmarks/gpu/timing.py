"""Times on a GPU: work is recorded once and played again, so that launches from Python do not count."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch

from benchmarks.protocol import spread, timer

WARM_UPS = 3
RUNS = 7


def recorded(run: Callable[[], Any], device: str) -> Callable[[], Any]:
    """The same work without Python: a CUDA graph of it, warm. On the CPU, ``run`` itself.

    Raises:
        RuntimeError: It does something that cannot be recorded.
    """
    if device == 'cpu':
        return warm(run)
    stream = torch.cuda.Stream()
    stream.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(stream):
        warm(run)
    torch.cuda.current_stream().wait_stream(stream)
    torch.cuda.synchronize()
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        run()
    return graph.replay


def warm(run: Callable[[], Any]) -> Callable[[], Any]:
    """``run`` after a few runs."""
    for _ in range(WARM_UPS):
        run()
    return run


def copy_seconds(size: int, device: str) -> float:
    """Seconds to read ``size / 2`` bytes and write as many, measured as everything else is."""
    source = torch.ones(max(size // 2, 1), dtype=torch.uint8, device=device)
    target = torch.empty_like(source)
    copy = recorded(lambda: target.copy_(source), device)
    seconds = timer(device)
    return spread([seconds(copy) for _ in range(RUNS)]).median
