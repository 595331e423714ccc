"""Report the environment: versions, devices, missing libraries."""

from __future__ import annotations

import os
import platform
import sys
from importlib.metadata import PackageNotFoundError, version
from importlib.util import find_spec
from pathlib import Path

import torch

from saga_mm.engines.cache import cache_folder
from saga_mm.operators import in_use
from saga_mm.rows.device_memory import free_bytes, used_bytes
from saga_mm.version import __version__

# distributions of each library: the maintained one, then the original
STACK = {
    'mmengine': ('onedl-mmengine', 'mmengine'),
    'mmcv': ('onedl-mmcv', 'mmcv', 'mmcv-lite'),
    'mmdet': ('onedl-mmdetection', 'mmdet'),
    'mmseg': ('onedl-mmsegmentation', 'mmsegmentation'),
}
LIBRARIES = ('numpy', 'opencv-python-headless', 'pillow', 'av', 'onnxruntime', 'gradio')
GIB = 2**30


def look() -> dict[str, str]:
    """Versions and what is in use, as lines by their titles."""
    cpu = torch.device('cpu')
    policy = os.environ.get('OMP_WAIT_POLICY', 'not set')
    return {
        'saga_mm': f'{__version__}, in {Path(__file__).parents[1]}',
        'Python': f'{platform.python_version()}, {sys.executable}, {platform.platform()}',
        'PyTorch': f'{torch.__version__}, {torch.get_num_threads()} of {os.cpu_count()} cores, threads wait: {policy}',
        'stack': _stack(),
        'operators': in_use().removeprefix('operators: ') if find_spec('mmcv') else 'none: mmcv is not installed',
        'engines': f'torch, {_version("openvino") or "openvino is not installed"}',
        'GPU': _gpu(),
        'memory': f'{free_bytes(cpu) / GIB:.1f} GiB free, {used_bytes(cpu) / GIB:.1f} GiB taken by this program',
        'caches': f'compiled models {_folder(cache_folder())}, downloads {_folder(Path(torch.hub.get_dir()))}',
        'libraries': ', '.join(filter(None, map(_version, LIBRARIES))),
    }


def _stack() -> str:
    found = []
    for library, names in STACK.items():
        there = [name for name in map(_version, names) if name]
        found.append(' and '.join(there) or f'no {library}')
        if len(there) > 1:
            # both install the same packages, so that one overwrote the other
            found[-1] += ' (both: remove one, and install the other anew)'
    return ', '.join(found)


def _gpu() -> str:
    triton = _version('triton') or 'triton is not installed'
    if not torch.cuda.is_available():
        return f'none is visible; {triton}'
    parts = [
        f'{torch.cuda.get_device_name(index)} with {torch.cuda.mem_get_info(index)[0] / GIB:.1f} GiB free'
        for index in range(torch.cuda.device_count())
    ]
    return f'{", ".join(parts)}; CUDA {torch.version.cuda}; {triton}'


def _version(distribution: str) -> str:
    """``'numpy 2.1.0'``; nothing if it is not installed."""
    try:
        return f'{distribution} {version(distribution)}'
    except PackageNotFoundError:
        return ''


def _folder(path: Path) -> str:
    size = sum(file.stat().st_size for file in path.rglob('*') if file.is_file()) if path.is_dir() else 0
    return f'{path} ({size / 2**20:.0f} MiB)'
