"""Workers of loaders, to which signals are sent while they start, or which are lost."""

import multiprocessing
import os
import signal
import time

import pytest
import torch
from torch.utils.data import DataLoader, TensorDataset

from saga_mm.engine.loader_workers import _held_signals, _Starts, end_workers, guard_workers, lost_workers_named
from saga_mm.errors import SagaError

SENT = [name for name in ('SIGTERM', 'SIGHUP') if hasattr(signal, name)]


def loader(workers: int = 2, **options) -> DataLoader:
    return DataLoader(TensorDataset(torch.arange(6)), batch_size=2, num_workers=workers, **options)


def values(batches) -> list[int]:
    return [int(value) for batch in batches for value in batch[0]]


@pytest.fixture
def heard():
    """Signals that this process hears."""
    found = []
    before = {getattr(signal, name): signal.getsignal(getattr(signal, name)) for name in SENT}
    for number in before:
        signal.signal(number, lambda number, frame: found.append(number))
    yield found
    for number, handler in before.items():
        signal.signal(number, handler)


@pytest.mark.parametrize('name', SENT)
@pytest.mark.parametrize('persistent', [False, True])
def test_a_worker_outlives_a_signal_that_comes_before_it_runs_its_first_line(monkeypatch, heard, name, persistent):
    number = getattr(signal, name)
    made = loader(persistent_workers=persistent)
    guard_workers(made)
    begin = torch.utils.data._utils.worker._worker_loop

    def signalled(*args: object) -> None:
        # torch's first act is a handler that ends the worker
        torch.utils.data._utils.signal_handling._set_worker_signal_handlers()
        os.kill(os.getpid(), number)
        begin(*args)

    monkeypatch.setattr(torch.utils.data._utils.worker, '_worker_loop', signalled)
    assert [values(made) for _ in range(2)] == [[0, 1, 2, 3, 4, 5]] * 2
    assert not heard
    assert not signal.pthread_sigmask(signal.SIG_BLOCK, [])


def test_a_signal_that_comes_while_workers_start_reaches_their_maker_and_what_they_ignore_is_their_own(heard):
    number = getattr(signal, SENT[0])
    made = loader(worker_init_fn=lambda worker: os.kill(os.getppid(), number))
    guard_workers(made)
    assert values(made) == [0, 1, 2, 3, 4, 5]
    assert set(heard) == {number}


def test_workers_start_where_a_system_holds_no_signals(monkeypatch):
    monkeypatch.delattr(signal, 'pthread_sigmask')
    made = loader()
    guard_workers(made)
    assert values(made) == [0, 1, 2, 3, 4, 5]


def test_a_loader_without_workers_is_left_alone():
    made = loader(0)
    guard_workers(made)
    assert made.worker_init_fn is None and values(made) == [0, 1, 2, 3, 4, 5]


@pytest.mark.parametrize('method', ['spawn', 'forkserver'])
def test_signals_are_held_for_workers_that_are_not_forked(method):
    context = multiprocessing.get_context(method)
    worker = context.Process(target=signal.raise_signal, args=(signal.SIGTERM,))
    with _held_signals(context):
        worker.start()
    worker.join()
    # it heard none, and let its maker hear all
    assert worker.exitcode == 0
    assert not signal.pthread_sigmask(signal.SIG_BLOCK, [])


def test_workers_that_ignore_signals_are_ended_at_the_exit():
    context = multiprocessing.get_context('fork')
    worker = context.Process(target=lambda: _Starts(lambda number: time.sleep(60))(0), daemon=True)
    worker.start()
    before = signal.getsignal(signal.SIGCHLD)
    end_workers()
    signal.signal(signal.SIGCHLD, before)
    worker.join(10)
    assert worker.exitcode == -signal.SIGKILL


class Lost(torch.utils.data.Dataset):
    """Samples of which the second ends the worker."""

    def __init__(self, number: int) -> None:
        self.number = number

    def __len__(self) -> int:
        return 4

    def __getitem__(self, index: int) -> int:
        if index == 1:
            os.kill(os.getpid(), self.number)
        return index


@pytest.mark.parametrize(('number', 'words'), [(signal.SIGKILL, 'for lack of memory'), (signal.SIGBUS, '/dev/shm')])
def test_a_worker_that_is_killed_is_one_line_with_what_helps(number, words):
    made = DataLoader(Lost(number), num_workers=1)
    guard_workers(made)
    with pytest.raises(SagaError, match='a process that loads data was killed') as told, lost_workers_named():
        list(made)
    assert words in str(told.value) and 'num_workers' in str(told.value)


def test_other_errors_stay_what_they_are():
    with pytest.raises(RuntimeError, match='no memory'), lost_workers_named():
        raise RuntimeError('no memory')
