"""Processes that load data: how they start, hear signals, end, and what is said where one is lost."""

from __future__ import annotations

import atexit
import multiprocessing
import multiprocessing.resource_tracker
import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cache
from typing import Any

from saga_mm.errors import SagaError
from saga_mm.loading.quiet import silence_noise

# what ends a training in order: see :class:`~saga_mm.engine.stopping.StopHook`
SIGNALS = ('SIGTERM', 'SIGHUP')
# words of torch's error
LOST = 'DataLoader worker (pid'


def guard_workers(loader: Any) -> None:
    """Make workers of a loader ignore, from their start, the signals that a cluster sends to all processes.

    The training needs a worker until its iteration is done, and ends it: see :func:`end_workers`.
    """
    if not loader.num_workers:
        return
    loader.worker_init_fn = _Starts(loader.worker_init_fn)
    # a worker ignores them once it runs Python's code; until then it has those held that its maker has held
    loader.__class__ = _held(type(loader))
    # runs before what multiprocessing registered at its import
    atexit.unregister(end_workers)
    atexit.register(end_workers)


@cache
def _held(kind: type) -> type:
    """A class of loaders, with signals held while their workers start."""

    def get_iterator(self: Any) -> Any:
        with _held_signals(self.multiprocessing_context):
            return kind._get_iterator(self)

    return type(kind.__name__, (kind,), {'_get_iterator': get_iterator})


@contextmanager
def _held_signals(context: Any) -> Iterator[None]:
    if (context or multiprocessing).get_start_method() != 'fork':
        # it lets the signals through once it has started, so not in between
        multiprocessing.resource_tracker.ensure_running()
    if not hasattr(signal, 'pthread_sigmask'):
        yield
        return
    before = signal.pthread_sigmask(signal.SIG_BLOCK, _numbers('SIGINT', *SIGNALS))
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _numbers(*names: str) -> list[signal.Signals]:
    """Signals that this system has."""
    return [getattr(signal, name) for name in names if hasattr(signal, name)]


class _Starts:
    """The function that a worker of a loader runs first.

    Args:
        first: What it did without us, if anything.
    """

    def __init__(self, first: Callable[[int], None] | None) -> None:
        self.first = first

    def __call__(self, worker: int) -> None:
        for number in _numbers(*SIGNALS):
            signal.signal(number, signal.SIG_IGN)
        if hasattr(signal, 'pthread_sigmask'):
            # Ctrl-C is an exception here, as torch expects
            signal.pthread_sigmask(signal.SIG_UNBLOCK, _numbers('SIGINT', *SIGNALS))
        # a worker that was not forked has what it was sent alone
        silence_noise()
        if self.first is not None:
            self.first(worker)


def end_workers() -> None:
    """End the workers of this process at its exit; Python's own way is a signal that they ignore, and would wait."""
    if hasattr(signal, 'SIGCHLD'):
        # of torch, which takes the end of a worker for a failure
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    for worker in multiprocessing.active_children():
        if worker.daemon:
            worker.kill()


@contextmanager
def lost_workers_named() -> Iterator[None]:
    """Turn the error that torch raises about a worker that has ended into one line.

    Raises:
        SagaError: A worker was killed, or ended without a word.
    """
    try:
        yield
    except RuntimeError as error:
        if not str(error).startswith(LOST):
            raise
        # the first error, raised where the end of the worker was noticed, says more
        text = f'{error.__cause__ or error.__context__} {error}'
        what = 'was killed' if 'by signal' in text else 'ended without a word'
        where = 'shared memory (/dev/shm)' if 'Bus error' in text else 'memory'
        raise SagaError(
            f'a process that loads data {what}, most likely for lack of {where}; take fewer of them '
            '(train_dataloader.num_workers and the like; 0 loads in this process), or smaller batches'
        ) from error
