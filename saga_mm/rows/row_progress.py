"""How far a planned run over rows is, for whoever watches."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar

_WATCHERS: ContextVar[tuple[Callable[[float], None], ...]] = ContextVar('watchers of rows', default=())


@contextmanager
def watch_rows(show: Callable[[float], None]) -> Iterator[None]:
    """Have runners that :func:`~saga_mm.ops.plan_runner` made say after each strip how far they are.

    All who watch are told.

    Args:
        show: Is given the share of its work, by the steps' own estimates, that a runner has done: up to 1.
    """
    token = _WATCHERS.set((*_WATCHERS.get(), show))
    try:
        yield
    finally:
        _WATCHERS.reset(token)


class Progress:
    """Counts work.

    Args:
        total: All that there is to do, in any unit; None if that is not known, and nobody is told.
    """

    def __init__(self, total: float | None) -> None:
        self.total, self.done = total, 0.0

    def add(self, work: float) -> None:
        """Count what was done, and tell who watches."""
        self.done += work
        for show in _WATCHERS.get() if self.total else ():
            show(min(self.done / self.total, 1.0))
