"""States on their way from where they are written to where they are read, for those who carry them between images."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any

import torch

_CARRY: ContextVar[Callable[[Any], Any] | None] = ContextVar('what is read in place of a state', default=None)


def carried(state: Any) -> Any:
    """What is read in place of a state that was written of a whole map: itself, but inside :func:`carry_states`."""
    # torch.compile follows no context variables
    if torch.compiler.is_compiling() or (carry := _CARRY.get()) is None:
        return state
    return carry(state)


@contextmanager
def carry_states(carry: Callable[[Any], Any]) -> Iterator[None]:
    """Have whole maps read ``carry(state)`` in place of each state, in the order in which a model writes them."""
    token = _CARRY.set(carry)
    try:
        yield
    finally:
        _CARRY.reset(token)
