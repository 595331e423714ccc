"""Replace states between write and read, as a video needs to carry them from frame to frame."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any

import torch

_CARRY: ContextVar[Callable[[Any], Any] | None] = ContextVar('what is read in place of a state', default=None)


def carried(state: Any) -> Any:
    """The state to read after one was written of a whole map: the same, except inside :func:`carry_states`."""
    # torch.compile follows no context variables
    if torch.compiler.is_compiling() or (carry := _CARRY.get()) is None:
        return state
    return carry(state)


@contextmanager
def carry_states(carry: Callable[[Any], Any]) -> Iterator[None]:
    """Make whole maps read ``carry(state)`` instead of each state, in the order in which a model writes them."""
    token = _CARRY.set(carry)
    try:
        yield
    finally:
        _CARRY.reset(token)
