"""Runs a piece of the package in a process of its own, for a peak of memory that nothing else has a part in."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from typing import Any

from saga_mm.errors import SagaError


def run_fresh(code: str, what: str, gpu: bool = False) -> dict[str, Any]:
    """Run Python code in a fresh process; the last line that it prints is JSON.

    Args:
        code: What to run.
        what: Named in the message if it fails.
        gpu: Whether it may see a GPU.

    Raises:
        SagaError: It failed, for example for lack of memory.
    """
    environment = os.environ if gpu else {**os.environ, 'CUDA_VISIBLE_DEVICES': ''}
    done = subprocess.run([sys.executable, '-c', code], env=environment, capture_output=True, text=True)
    if done.returncode:
        reason = (done.stderr.strip() or 'it said nothing').splitlines()[-1]
        if done.returncode < 0:
            reason = f'ended by {signal.Signals(-done.returncode).name}, perhaps for lack of memory'
        raise SagaError(f'{what}: {reason}; leave out this size or model')
    return json.loads(done.stdout.splitlines()[-1])
