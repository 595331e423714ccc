"""The whole of it in one go: check, time the kernels, time models, and write after every step what there is."""

from __future__ import annotations

import time
from pathlib import Path

import torch

from benchmarks.ceilings import measure_ceilings
from benchmarks.machine import full_machine
from saga_mm.errors import SagaError
from saga_mm.files import make_folder
from saga_mm.ops import plain_reason
from saga_mm.ops.triton import available

from .check import check_kernels
from .cores import DTYPES, TOKENS, measure_cores
from .nets import measure_nets
from .report import Report
from .tuning import tune

PARTS = ('check', 'cores', 'nets', 'tune')


def run(parts: list[str], folder: Path, tokens: tuple[int, ...] = TOKENS) -> int:
    """Do what is asked for and write it into a folder.

    Returns:
        Exit status: 1 if something computed what it should not, otherwise 0. Nothing wrong is timed.

    Raises:
        SagaError: There is no GPU that kernels run on, or no Triton; a part has another name.
    """
    if unknown := [part for part in parts if part not in PARTS]:
        raise SagaError(f'--parts {unknown[0]}: is none of {", ".join(PARTS)}')
    if not torch.cuda.is_available():
        raise SagaError('this measures kernels on a CUDA GPU, and PyTorch finds none here')
    if not available():
        raise SagaError('Triton is not installed: pip install triton, in the version that goes with PyTorch')
    if reason := plain_reason(torch.empty(0, device='cuda')):
        raise SagaError(f'{reason}: nothing to measure (SAGA_MM_FUSED=0 switches kernels off)')
    make_folder(folder)
    start = time.monotonic()

    def say(text: str) -> None:
        print(f'[{time.monotonic() - start:5.0f} s] {text}', flush=True)

    report = Report(full_machine())
    try:
        _measure(report, parts, tokens, folder, say)
    finally:
        files = report.write(folder)
        print(report.as_markdown())
        say(f'written: {", ".join(map(str, files))}')
    return 0 if report.passed else 1


def _measure(report: Report, parts: list[str], tokens: tuple[int, ...], folder: Path, say) -> None:
    if 'check' in parts:
        say('kernels against float64; each is compiled first')
        for check in check_kernels():
            report.checks.append(check)
            if not check.passed:
                say(f'WRONG: {check.dtype}, {check.name}: {check.output:.1e}, gradients {check.gradients:.1e}')
        report.write(folder)
        if not report.passed:
            return
    report.bandwidth = measure_ceilings('cuda', torch.bfloat16).bandwidth
    if 'tune' in parts:
        for dtype in DTYPES:
            report.trials += tune(dtype, say=say)
            report.write(folder)
    if 'cores' in parts:
        for rows in measure_cores(tokens=tokens, say=say):
            report.cores += rows
            report.write(folder)
    if 'nets' in parts:
        for rows in measure_nets(say=say):
            report.nets += rows
            report.write(folder)
