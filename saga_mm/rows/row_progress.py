"""Report the progress of a run over rows."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar

_WATCHERS: ContextVar[tuple[Callable[[float], None], ...]] = ContextVar('watchers of rows', default=())


@contextmanager
def watch_rows(show: Callable[[float], None]) -> Iterator[None]:
    """Report the progress of runners that :func:`~saga_mm.rows.plan_runner` made, after each strip.

    Contexts may be nested; all of them are called.

    Args:
        show: Called with the share of the work that a runner has done, up to 1, by the estimates of its steps.
    """
    token = _WATCHERS.set((*_WATCHERS.get(), show))
    try:
        yield
    finally:
        _WATCHERS.reset(token)


class Progress:
    """Counts the work of a runner.

    Args:
        total: All work, in any unit; None if it is not known, and nothing is reported.
    """

    def __init__(self, total: float | None) -> None:
        self.total, self.done = total, 0.0

    def add(self, work: float) -> None:
        """Add finished work, and report the progress."""
        self.done += work
        for show in _WATCHERS.get() if self.total else ():
            show(min(self.done / self.total, 1.0))
