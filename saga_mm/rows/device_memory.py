"""Memory of a device: used, free, peak, and what allocators give back."""

from __future__ import annotations

import ctypes
import math
import os
import sys
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import torch

# a limit of a control group from here on is none: kernels write the largest number that they know
NO_LIMIT = 2**60


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


def free_bytes(device: torch.device, root: str | Path = '/') -> float:
    """Memory that the program can still take without swapping; of the GPU, if ``device`` is one.

    On a CPU that is what the kernel says is available, or less where a control group (a container) allows less. Where
    the system does not tell, half of what is built in; where it does not tell that either, infinite.

    Args:
        device: The device.
        root: The folder that holds ``proc`` and ``sys``.
    """
    if device.type == 'meta':
        return math.inf
    if device.type == 'cuda':
        # what the caching allocator keeps for this program is free as well
        kept = torch.cuda.memory_reserved(device) - torch.cuda.memory_allocated(device)
        return torch.cuda.mem_get_info(device)[0] + kept
    return min([_available(Path(root)), *_group_room(Path(root))])


def peak_bytes() -> int:
    """The most that the program held since :func:`release_memory`: of the GPU's memory, if there is one.

    Since the start of the program where the system cannot reset the count; 0 where it has none (Windows).
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


def _available(root: Path) -> float:
    with suppress(OSError, IndexError, ValueError):
        return int((root / 'proc/meminfo').read_text().partition('MemAvailable:')[2].split()[0]) * 1024
    with suppress(OSError, ValueError, AttributeError):
        return os.sysconf('SC_PHYS_PAGES') * os.sysconf('SC_PAGE_SIZE') / 2
    return math.inf


def _group_room(root: Path) -> Iterator[float]:
    """What is left of the limits of the control groups that the program is in, of either version of the kernel's."""
    try:
        lines = (root / 'proc/self/cgroup').read_text().splitlines()
    except (OSError, ValueError):
        return
    for line in lines:
        controllers, _, path = line.partition(':')[2].partition(':')
        if not controllers:
            base, limit, usage, cache = root / 'sys/fs/cgroup', 'memory.max', 'memory.current', 'inactive_file '
        elif 'memory' in controllers.split(','):
            base, cache = root / 'sys/fs/cgroup/memory', 'total_inactive_file '
            limit, usage = 'memory.limit_in_bytes', 'memory.usage_in_bytes'
        else:
            continue
        group = base / path.lstrip('/')
        # inside a container the path may be the host's: then the limit is that of the base
        for folder in (group, *group.parents):
            # no such folder, or 'max'
            with suppress(OSError, ValueError, IndexError):
                most, taken = (int((folder / name).read_text()) for name in (limit, usage))
                # pages of files that the kernel drops as soon as memory is needed
                dropped = (folder / 'memory.stat').read_text().partition(f'\n{cache}')[2].split()[0]
                if most < NO_LIMIT:
                    yield max(most - taken + int(dropped), 0)
            if folder == base:
                break


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
