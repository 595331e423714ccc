import math
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from saga_mm.rows import device_memory as memory
from saga_mm.rows.device_memory import free_bytes, peak_bytes, release_memory, used_bytes

CPU = torch.device('cpu')
MIB = 2**20


def test_what_is_held_counts_until_it_is_let_go(monkeypatch):
    monkeypatch.setattr(torch.cuda, 'is_available', lambda: False)
    release_memory()
    before = used_bytes(CPU)
    held = np.ones(128 * MIB, np.uint8)
    assert 120 * MIB < used_bytes(CPU) - before < 160 * MIB
    assert peak_bytes() - before > 120 * MIB
    del held
    # libraries that other tests load may have told the allocator to keep what is freed
    release_memory()
    assert used_bytes(CPU) - before < 40 * MIB


def refuse(*args, **options):
    raise OSError('no such file')


def refuse_none(name):
    raise TypeError(f'no library {name}')


def test_without_proc_the_peak_since_the_start(monkeypatch):
    monkeypatch.setattr(torch.cuda, 'is_available', lambda: False)
    now = used_bytes(CPU)
    monkeypatch.setattr(Path, 'read_text', refuse)
    monkeypatch.setattr(Path, 'write_text', refuse)
    release_memory()
    assert used_bytes(CPU) == peak_bytes() >= 0.9 * now


def test_nothing_is_known_where_the_system_tells_nothing(monkeypatch):
    monkeypatch.setattr(torch.cuda, 'is_available', lambda: False)
    monkeypatch.setattr(Path, 'read_text', refuse)
    monkeypatch.setitem(sys.modules, 'resource', None)
    # Windows gives no library for None
    monkeypatch.setattr(memory.ctypes, 'CDLL', refuse_none)
    release_memory()
    assert (used_bytes(CPU), peak_bytes()) == (0, 0)


def write(root, files):
    for name, text in files.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)


MEMINFO = {'proc/meminfo': 'MemTotal:  9000000 kB\nMemFree:  100 kB\nMemAvailable:  1000000 kB\n'}
STAT = 'anon 5\nfile 9\n{}inactive_file 50\nactive_file 7\n'
SECOND = {
    'proc/self/cgroup': '0::/outer/inner\n',
    'sys/fs/cgroup/outer/inner/memory.max': 'max\n',
    'sys/fs/cgroup/outer/inner/memory.current': '100\n',
    'sys/fs/cgroup/outer/memory.max': '1000\n',
    'sys/fs/cgroup/outer/memory.current': '700\n',
    'sys/fs/cgroup/outer/memory.stat': STAT.format(''),
}
FIRST = {
    'proc/self/cgroup': '5:cpu:/\n4:hugetlb,memory:/not/seen/inside\n0::/\n',
    'sys/fs/cgroup/memory/memory.limit_in_bytes': '2000\n',
    'sys/fs/cgroup/memory/memory.usage_in_bytes': '500\n',
    'sys/fs/cgroup/memory/memory.stat': 'inactive_file 1\n' + STAT.format('total_'),
}
NO_LIMIT = {**FIRST, 'sys/fs/cgroup/memory/memory.limit_in_bytes': '9223372036854771712\n'}


@pytest.mark.parametrize(
    ('files', 'free'),
    [({}, 1000000 * 1024), (SECOND, 350), (FIRST, 1550), (NO_LIMIT, 1000000 * 1024)],
    ids=['no-group', 'second', 'first', 'no-limit'],
)
def test_what_is_free_is_what_kernel_and_group_leave(tmp_path, files, free):
    write(tmp_path, {**MEMINFO, **files})
    assert free_bytes(CPU, tmp_path) == free


def test_what_is_free_here_and_where_nothing_is_told(tmp_path):
    assert 0 < free_bytes(CPU) < 2**50 and free_bytes(CPU, tmp_path) > 0
    assert free_bytes(torch.device('meta')) == math.inf
