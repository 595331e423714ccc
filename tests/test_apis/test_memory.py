import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from saga_mm.apis import memory
from saga_mm.apis.memory import memory_size, peak_bytes, release_memory, used_bytes
from saga_mm.errors import SagaError

CPU = torch.device('cpu')
MIB = 2**20


@pytest.mark.parametrize(
    ('text', 'size'), [('4GB', 4 * 2**30), ('512M', 512 * 2**20), ('1.5 GiB', 3 * 2**29), ('100', 100), ('2kb', 2048)]
)
def test_sizes(text, size):
    assert memory_size(text) == size


@pytest.mark.parametrize('text', ['', 'much', '4XB', '-1GB', '0', '4 G B'])
def test_no_sizes(text):
    with pytest.raises(SagaError, match='is no size'):
        memory_size(text)


def test_what_is_held_counts_until_it_is_let_go(monkeypatch):
    monkeypatch.setattr(torch.cuda, 'is_available', lambda: False)
    release_memory()
    before = used_bytes(CPU)
    held = np.ones(128 * MIB, np.uint8)
    assert 120 * MIB < used_bytes(CPU) - before < 160 * MIB
    assert peak_bytes() - before > 120 * MIB
    del held
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


def test_what_is_kept_is_given_back_above_a_limit(monkeypatch):
    calls = []
    monkeypatch.setattr(memory, 'trim_memory', lambda: calls.append(1))
    monkeypatch.setattr(memory, 'used_bytes', lambda device: 100)
    memory.keep_below(100, torch.device('cpu'))
    memory.keep_below(0, torch.device('meta'))
    assert calls == []
    memory.keep_below(99, torch.device('cpu'))
    assert calls == [1]
