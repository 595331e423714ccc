"""Which tiles are fastest on this GPU: what to write into ``saga_mm.ops.triton.launch``."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import product
from typing import Any

import torch

from benchmarks.protocol import spread, timer
from saga_mm.analysis.parts import first_line

from .timing import RUNS, recorded

ROWS, WARPS, STAGES = (16, 32, 64, 128), (4, 8), (1, 2, 3, 4)
WAVES = (1, 2, 3, 4)
TOKENS = 102400
KERNELS = ('write', 'read', 'write_backward', 'read_backward')
# tensors of the tokens' size that each must read or write
PASSES = {'write': 4, 'read': 2, 'write_backward': 8, 'read_backward': 3}


@dataclass
class Trial:
    """Seconds of a kernel with one tile, or with the tile that was best and another number of waves."""

    kernel: str
    dtype: str
    tile: tuple[int, int, int]
    waves: int
    seconds: float
    bandwidth: float


def tune(
    dtype: torch.dtype, head_dim: int = 64, tokens: int = TOKENS, device: str = 'cuda', say: Callable = print
) -> Iterator[Trial]:
    """Time every kernel with every tile, and the best one with every number of waves."""
    from saga_mm.ops.triton import launch

    runs = _runs(dtype, head_dim, tokens, device)
    for kernel in KERNELS:
        say(f'tiles of {kernel}, {dtype}')
        size = PASSES[kernel] * tokens * head_dim * dtype.itemsize
        name = str(dtype).removeprefix('torch.')
        best = None
        tiles = [launch.Tile(*numbers) for numbers in product(ROWS, WARPS, STAGES)]
        for waves, tile in [(launch.WAVES, tile) for tile in tiles] + [(waves, None) for waves in WAVES]:
            tile = tile or (best.tile if best else tiles[0])
            try:
                with _tiles(launch, kernel, head_dim, launch.Tile(*tile), waves):
                    seconds = _time(runs[kernel], device)
            # a tile that does not fit is no answer
            except Exception as error:
                say(f'  {tuple(tile)}: {first_line(error)}')
                continue
            trial = Trial(kernel, name, tuple(tile), waves, seconds, size / seconds)
            if best is None or trial.seconds < best.seconds:
                best = trial
            yield trial


def _runs(dtype: torch.dtype, head_dim: int, tokens: int, device: str) -> dict[str, Callable[[], Any]]:
    from saga_mm.ops.triton.read import read, read_backward
    from saga_mm.ops.triton.write import write, write_backward

    q, k, v, a, b, out = (torch.randn(1, tokens, 1, head_dim, device=device, dtype=dtype) for _ in range(6))
    names = ('relu', 'sigmoid', 'plain')
    kv, key = write(k, v, (a, b), *names)
    return {
        'write': lambda: write(k, v, (a, b), *names),
        'write_backward': lambda: write_backward(kv, key, k, v, (a, b), *names),
        'read': lambda: read(q, kv, key, 'relu', 'plain', 1e-6),
        'read_backward': lambda: read_backward(out, q, kv, key, 'relu', 'plain', 1e-6),
    }


def _time(run: Callable[[], Any], device: str) -> float:
    run = recorded(run, device)
    seconds = timer(device)
    return spread([seconds(run) for _ in range(RUNS)]).median


@contextmanager
def _tiles(launch: Any, kernel: str, head_dim: int, tile: Any, waves: int) -> Iterator[None]:
    table, width = launch.TILES[kernel], max(32, launch.block(head_dim))
    before = table[width], launch.WAVES
    table[width], launch.WAVES = (tile, tile), waves
    try:
        yield
    finally:
        table[width], launch.WAVES = before
