"""What the program holds in memory, and sizes of memory as users write them."""

from __future__ import annotations

import ctypes
import os
import re
import sys
from contextlib import suppress
from pathlib import Path

import torch

from saga_mm.errors import SagaError

UNITS = {'': 1, 'k': 2**10, 'm': 2**20, 'g': 2**30, 't': 2**40}


def memory_size(text: str) -> int:
    """Bytes in a size such as ``4GB``, ``512M`` or ``1.5 GiB``; units are powers of 1024.

    Raises:
        SagaError: It is no size.
    """
    match = re.fullmatch(r'\s*(\d+(?:\.\d+)?)\s*([kmgt]?)(?:i?b)?\s*', text.lower())
    if match is None or float(match[1]) == 0:
        raise SagaError(f'--max-memory {text}: is no size; write for example 4GB or 800MB')
    return int(float(match[1]) * UNITS[match[2]])


def used_bytes(device: torch.device) -> int:
    """What the program holds now: of the GPU's memory, if ``device`` is one.

    Where the system only tells the peak, that; where it tells nothing (Windows), 0.
    """
    if device.type == 'cuda':
        return torch.cuda.memory_allocated(device)
    try:
        return int(Path('/proc/self/statm').read_text().split()[1]) * os.sysconf('SC_PAGE_SIZE')
    except (OSError, IndexError, ValueError):
        return _resident_peak()


def peak_bytes() -> int:
    """The most that the program held since :func:`release_memory`: of the GPU's memory, if there is one.

    Where the system lets nobody count anew, since the program started; where it tells nothing (Windows), 0.
    """
    return torch.cuda.max_memory_allocated() if torch.cuda.is_available() else _resident_peak()


def release_memory() -> None:
    """Give back what is free, and start to count the peak anew, as far as the system lets us."""
    if torch.cuda.is_available():
        torch.cuda.empty_cache()
        torch.cuda.reset_peak_memory_stats()
        return
    trim_memory()
    with suppress(OSError):
        Path('/proc/self/clear_refs').write_text('5')


def trim_memory() -> None:
    """Give back what the allocator of the CPU keeps for later, where it can be asked to."""
    with suppress(OSError, AttributeError, TypeError):
        ctypes.CDLL(None).malloc_trim(0)


def keep_below(limit: float, device: torch.device) -> None:
    """Give back what the allocator of the CPU keeps for later, if the program holds more than ``limit`` bytes."""
    if device.type == 'cpu' and used_bytes(device) > limit:
        trim_memory()


def _resident_peak() -> int:
    try:
        status = Path('/proc/self/status').read_text()
        return int(status.partition('VmHWM:')[2].split()[0]) * 1024
    except (OSError, IndexError, ValueError):
        pass
    try:
        import resource
    except ImportError:
        return 0
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == 'darwin' else peak * 1024
