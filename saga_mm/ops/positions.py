"""Tensors that depend on the positions of tokens: rotations and resized position tables.

An engine compiles a step once, for strips that begin at any row. What depends on that row cannot be part of the
compiled step. It is computed by PyTorch for each strip, and given to the compiled step as an input.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from contextvars import ContextVar
from functools import wraps
from typing import Any, NamedTuple, TypeVar

import torch

from .grid import Grid, ceil_div

_RECORDER: ContextVar[Recorder | None] = ContextVar('recorder of places', default=None)
Function = TypeVar('Function', bound=Callable[..., Any])


def position_dependent(function: Function) -> Function:
    """Mark a function of a :class:`Grid` and of constants whose tensors depend on where the tokens stand.

    One positional argument is the grid. The result is a tensor, or a tuple of tensors with a class of its own.
    """

    @wraps(function)
    def call(*args: Any) -> Any:
        # torch.compile, which follows no context variables, has nothing to record
        if torch.compiler.is_compiling() or (recorder := _RECORDER.get()) is None:
            return function(*args)
        return recorder.call(function, args)

    return call


class Call(NamedTuple):
    """A call of a function that is :func:`position_dependent`.

    Attributes:
        function: The function.
        args: Its arguments; the grid is replaced for each strip.
        index: Position of the grid among them.
        ratio: Rows of the step's input to one of the grid.
        kind: Class of the answer if it is a named tuple, or None for a tensor.
    """

    function: Callable[..., Any]
    args: tuple
    index: int
    ratio: int
    kind: type | None

    def tensors(self, grid: Grid) -> list[torch.Tensor]:
        """What the function returns for a strip of the step's input at ``grid``."""
        coarse = Grid(*(ceil_div(side, self.ratio) for side in grid))
        answer = self.function(*self.args[: self.index], coarse, *self.args[self.index + 1 :])
        return [answer] if self.kind is None else list(answer)


class Recorder:
    """Notes the calls of functions that are :func:`position_dependent`, or answers them with tensors that are given.

    Use it as a context manager around a run of a step.

    Args:
        grid: Where the input of the run stands.
        calls: What an earlier run has noted, to be answered; None to compute and note the calls.
        given: The tensors of the answers, in the order of ``calls``; no more of an iterator are taken.
    """

    def __init__(self, grid: Grid, calls: Sequence[Call] | None = None, given: Iterable[torch.Tensor] = ()) -> None:
        self.grid, self.calls = grid, [] if calls is None else list(calls)
        self._open = None if calls is None else iter(calls)
        self._given = iter(given)

    def __enter__(self) -> Recorder:
        self._token = _RECORDER.set(self)
        return self

    def __exit__(self, *error: object) -> None:
        _RECORDER.reset(self._token)

    def call(self, function: Callable[..., Any], args: tuple) -> Any:
        """The answer to a call with these arguments."""
        if self._open is not None:
            # by order: whatever its grid, a step calls these functions in the same one
            kind = next(self._open).kind
            return next(self._given) if kind is None else kind(*(next(self._given) for _ in kind._fields))
        index = next(i for i, arg in enumerate(args) if isinstance(arg, Grid))
        # sides round up at each stride, so the quotient of the widths is not a whole number
        ratio = round(self.grid.width / args[index].width)
        if args[index] != Grid(*(ceil_div(side, ratio) for side in self.grid)):
            raise ValueError(f'{function.__name__} is asked about other rows than those that the step is given')
        # activations stand for their type and device alone
        kept = tuple(arg.new_empty(0) if _is_activation(arg) else arg for arg in args)
        answer = function(*args)
        kind = None if isinstance(answer, torch.Tensor) else type(answer)
        self.calls.append(Call(function, kept, index, ratio, kind))
        return answer


def _is_activation(arg: Any) -> bool:
    return isinstance(arg, torch.Tensor) and not isinstance(arg, torch.nn.Parameter)
