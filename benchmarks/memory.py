"""Peak memory of a subject in a process of its own."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from dataclasses import asdict
from typing import Any

import torch

from saga_mm.errors import SagaError
from saga_mm.rows.device_memory import peak_bytes, release_memory, used_bytes

from .cases import Case
from .steps import Step
from .subjects import build


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

    The first loads libraries, starts threads, compiles, and makes the gradients that later runs add to.
    """
    torch.set_num_threads(threads)
    case = Case(**fields)
    step = Step(build(case), case.backward, case.compiled)
    step()
    for tensor in step.inputs:
        tensor.grad = None
    release_memory()
    before = used_bytes(torch.device(case.device))
    step()
    print(json.dumps({'peak_bytes': max(0, peak_bytes() - before)}))
