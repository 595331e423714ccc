"""Work beside the caller's, such as encoding while the next frame is computed."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any


class Background:
    """Calls functions one after the other in a thread of its own; used as a context manager, which waits for them.

    An error of a call is raised by a later one, or at the end.

    Args:
        waiting: Calls that may wait; with more, the caller does.
    """

    def __init__(self, waiting: int = 1) -> None:
        self._pool, self._waiting = ThreadPoolExecutor(1), waiting
        self._calls: deque[Future] = deque()

    def __call__(self, function: Callable[..., Any], *arguments: Any) -> None:
        # one runs
        while len(self._calls) > self._waiting:
            self._calls.popleft().result()
        self._calls.append(self._pool.submit(function, *arguments))

    def __enter__(self) -> Background:
        return self

    def __exit__(self, kind: type | None, *error: object) -> None:
        self._pool.shutdown(cancel_futures=kind is not None)
        if kind is None:
            for call in self._calls:
                call.result()
