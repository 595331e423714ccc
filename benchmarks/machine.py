"""What figures depend on beside the models: the machine, its load, and versions."""

from __future__ import annotations

import importlib.util
import os
import platform
import subprocess
from pathlib import Path
from typing import Any

import torch

from saga_mm.version import __version__

_FLAGS = ('avx2', 'avx512f', 'avx512_bf16', 'amx_tile', 'neon', 'asimd')


def machine() -> dict[str, Any]:
    """Processor, threads, memory, load before the start, and versions."""
    return {
        'processor': _cpuinfo('model name') or platform.processor() or platform.machine(),
        'cores': os.cpu_count(),
        'threads': torch.get_num_threads(),
        'memory_bytes': os.sysconf('SC_PAGE_SIZE') * os.sysconf('SC_PHYS_PAGES') if hasattr(os, 'sysconf') else None,
        'load': os.getloadavg()[0] if hasattr(os, 'getloadavg') else None,
        'system': platform.platform(),
        'python': platform.python_version(),
        'torch': torch.__version__,
        'saga_mm': __version__,
    }


def full_machine() -> dict[str, Any]:
    """The same with what kernels depend on: instructions, GPU, driver, Triton, and the commit of a checkout."""
    about = machine()
    flags = set((_cpuinfo('flags') or _cpuinfo('Features')).split())
    about['instructions'] = [flag for flag in _FLAGS if flag in flags]
    about['commit'] = _commit()
    about['triton'] = _triton()
    if torch.cuda.is_available():
        about['gpu'] = torch.cuda.get_device_name()
        about['cuda'] = torch.version.cuda
    return about


def described(about: dict[str, Any]) -> str:
    """The same in a sentence."""
    load = '' if about['load'] is None else f', load before the start {about["load"]:.1f}'
    gpu = f'{about["gpu"]}; ' if about.get('gpu') else ''
    return (
        f'{gpu}{about["processor"]}, {about["threads"]} threads on {about["cores"]} cores{load}; '
        f'torch {about["torch"]}, saga_mm {about["saga_mm"]}.'
    )


def available_bytes(device: str) -> int | None:
    """Memory that is free now; None where the system does not tell."""
    if device == 'cuda':
        return torch.cuda.mem_get_info()[0]
    try:
        text = Path('/proc/meminfo').read_text()
        return int(text.partition('MemAvailable:')[2].split()[0]) * 1024
    except (OSError, IndexError, ValueError):
        return None


def _cpuinfo(key: str) -> str:
    try:
        lines = Path('/proc/cpuinfo').read_text().splitlines()
    except OSError:
        return ''
    return next((line.partition(':')[2].strip() for line in lines if line.partition(':')[0].strip() == key), '')


def _commit() -> str | None:
    """Of the checkout that the package is in; with a plus where files have changed since."""
    folder = Path(__file__).resolve().parents[1]
    if not (folder / '.git').exists():
        return None
    try:
        words = ['git', '-C', str(folder), 'describe', '--always', '--dirty=+', '--exclude=*']
        return subprocess.run(words, capture_output=True, text=True, check=True).stdout.strip()
    except (OSError, subprocess.CalledProcessError):
        return None


def _triton() -> str | None:
    if importlib.util.find_spec('triton') is None:
        return None
    import triton

    return triton.__version__
