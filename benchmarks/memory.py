"""Peak memory of a subject in a process of its own."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from dataclasses import asdict, replace
from typing import Any

import torch

from saga_mm.errors import SagaError
from saga_mm.rows.device_memory import peak_bytes, release_memory, used_bytes

from .cases import Case
from .steps import Step
from .subjects import build

# a first image for an engine, and how often it runs one until it has compiled what is usual
SMALL, ENGINE_RUNS = (64, 64), 4


def measure_peak(case: Case, threads: int) -> int:
    """Bytes at the peak of a run beyond what there was before it: resident memory, or the GPU allocator's.

    Raises:
        SagaError: The process failed, for example for lack of memory.
    """
    code = f'from {__name__} import run_here; run_here({asdict(case)!r}, {threads})'
    environment = os.environ if case.device == 'cuda' else {**os.environ, 'CUDA_VISIBLE_DEVICES': ''}
    done = subprocess.run([sys.executable, '-c', code], env=environment, capture_output=True, text=True)
    if done.returncode:
        reason = (done.stderr.strip() or 'it said nothing').splitlines()[-1]
        if done.returncode < 0:
            reason = f'ended by {signal.Signals(-done.returncode).name}, perhaps for lack of memory'
        raise SagaError(f'{case.label} at {case.size[0]} x {case.size[1]}: {reason}; leave out this size or model')
    return json.loads(done.stdout.splitlines()[-1])['peak_bytes']


def run_here(fields: dict[str, Any], threads: int) -> None:
    """Run a case twice in this process and print the peak of the second run as JSON.

    The first loads libraries, starts threads, compiles, and makes the gradients that later runs add to. What an engine
    keeps from run to run counts: there, the first is of a small image, and the peak that of several runs.
    """
    torch.set_num_threads(threads)
    case = Case(**fields)
    subject, on_engine = build(case), '@' in case.name
    step = Step(subject, case.backward, case.compiled)
    if on_engine:
        Step(subject._replace(inputs=build(replace(case, size=SMALL)).inputs))()
    else:
        step()
    for tensor in step.inputs:
        tensor.grad = None
    release_memory()
    before = used_bytes(torch.device(case.device))
    for _ in range(ENGINE_RUNS if on_engine else 1):
        step()
    print(json.dumps({'peak_bytes': max(0, peak_bytes() - before)}))
