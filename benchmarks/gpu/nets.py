"""PVT-Tiny with SAGA beside PVT-Tiny with softmax attention: throughput and memory of inference."""

from __future__ import annotations

import gc
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import torch
from torch import nn

from benchmarks import baselines  # noqa: F401  registers the published softmax
from benchmarks.protocol import take_turns, timer
from benchmarks.references import keep_whole
from benchmarks.steps import forget_compiled
from saga_mm.analysis.parts import first_line
from saga_mm.models.backbones import create_backbone
from saga_mm.ops import fused_kernels

from .check import relative_error
from .timing import recorded, warm

HOST = 'pvt_tiny'
# batch and side of the image
CASES = ((1, 1280), (8, 1280), (1, 2048))
DTYPE = torch.bfloat16
REPEATS, MIN_SECONDS = 10, 0.3
MIXERS = {'naive softmax': 'naive_softmax', 'fused softmax': 'softmax', 'SAGA': 'saga'}
COMPILED, PLAYED = ' compiled', ' compiled, recorded'
# of maps in bfloat16 after all blocks
LIMIT = 0.1


@dataclass
class NetRow:
    """Seconds and peak memory, beyond weights and image, of one backbone on one batch."""

    batch: int
    side: int
    variant: str
    samples: list[float] = field(default_factory=list)
    peak_bytes: int | None = None
    skipped: str = ''
    wrong: bool = False


def measure_nets(
    device: str = 'cuda',
    cases: Sequence[tuple[int, int]] = CASES,
    compiled: bool = True,
    repeats: int = REPEATS,
    say: Callable[[str], Any] = print,
    **options: Any,
) -> Iterator[list[NetRow]]:
    """Rows of one batch and size at a time; variants took turns.

    Args:
        device: ``'cuda'``, or ``'cpu'`` to try it.
        cases: Batches and sides of images.
        compiled: Measure softmax as PyTorch has it, and SAGA, under ``torch.compile``, too.
        repeats: Least number of runs of each.
        say: Told what comes next.
        options: For :func:`create_backbone`.
    """
    for batch, side in cases:
        say(f'{HOST}, {batch} x {side} x {side}')
        image = torch.randn(batch, 3, side, side, device=device, dtype=DTYPE)
        rows, runs = [], {}
        for variant, run in _variants(image, compiled, options):
            row = NetRow(batch, side, variant)
            rows.append(row)
            try:
                say(f'  {variant}')
                runs[variant] = _prepared(variant, run, row, device)
            # out of memory, or what a compiler cannot do: the others are still measured
            except Exception as error:
                row.skipped = first_line(error)
        _compare(image, rows, runs, options)
        seconds = timer(device)
        timed = {variant: partial(seconds, run) for variant, run in runs.items()}
        take_turns(timed, {row.variant: row.samples for row in rows}, repeats, MIN_SECONDS)
        yield rows
        del runs, timed
        forget_compiled()
        gc.collect()


def _variants(image: torch.Tensor, compiled: bool, options: dict) -> Iterator[tuple[str, Callable[[], Any]]]:
    for name, attention in MIXERS.items():
        net = _net(attention, image, options)
        if attention == 'naive_softmax':
            # as published: chunks of rows are ours
            keep_whole(net)
        yield name, partial(_infer, net, image)
        if compiled and attention != 'naive_softmax':
            run = partial(_infer, torch.compile(net, dynamic=False), image)
            yield name + COMPILED, run
            yield name + PLAYED, run


def _net(attention: str, image: torch.Tensor, options: dict) -> nn.Module:
    torch.manual_seed(0)
    return create_backbone(HOST, attention=attention, **options).to(image.device, image.dtype).eval()


@torch.inference_mode()
def _infer(net: Callable, image: torch.Tensor) -> list[torch.Tensor]:
    return list(net(image))


def _prepared(variant: str, run: Callable[[], Any], row: NetRow, device: str) -> Callable[[], Any]:
    if variant.endswith(PLAYED):
        return recorded(run, device)
    warm(run)
    if device == 'cuda':
        torch.cuda.synchronize()
        torch.cuda.reset_peak_memory_stats()
        before = torch.cuda.memory_allocated()
        run()
        row.peak_bytes = torch.cuda.max_memory_allocated() - before
    return run


def _compare(image: torch.Tensor, rows: list[NetRow], runs: dict[str, Callable], options: dict) -> None:
    """Leave out what does not compute what the same backbone does without kernels and without a compiler."""
    for name, attention in MIXERS.items():
        with fused_kernels(False):
            truth = [x.double() for x in _infer(_net(attention, image, options), image)]
        for row in rows:
            if row.variant not in (name, name + COMPILED) or row.variant not in runs:
                continue
            error = max(map(relative_error, runs[row.variant](), truth))
            if not error <= LIMIT:
                row.wrong, row.skipped = True, f'wrong: relative error {error:.1e}'
                del runs[row.variant]
