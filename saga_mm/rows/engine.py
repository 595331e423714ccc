"""The contract of an engine, and its reference: steps run as PyTorch modules."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import TYPE_CHECKING, Any, NamedTuple

import torch
from torch import nn

from saga_mm.ops.grid import Grid

if TYPE_CHECKING:
    from .passes import Part
    from .steps import RowStep


class Strip(NamedTuple):
    """Rows of a map with the halo that a step needs to compute its output.

    Attributes:
        x: Tokens of its input.
        grid: Where they stand.
        keep: The rows of its output that are wanted.
    """

    x: torch.Tensor
    grid: Grid
    keep: Grid


class Engine:
    """Runs row steps as PyTorch runs their modules, on any device: the reference for all other engines.

    An engine that compiles steps derives from this class and overrides the three methods that run something. It takes
    strips of any rows and any width, and returns states in at least float32. What it cannot run it leaves to this
    class, and records the reason.

    Attributes:
        name: What users call it.
        precision: ``'f32'`` or ``'bf16'``: the type that products are computed in.
        chunk: Bytes for the computation on all strips that run together, unless a caller sets a limit.
        lanes: Strips that run together.
        compiles: Whether the runner makes strips of one size where it can.
        whole_bytes: Bytes, by the estimates of its steps, up to which a backbone is run in one piece.
        reasons: Why parts run as PyTorch modules, by the name of the part.
        shape: Of the batch that a backbone or enhancer was last given; None before.
    """

    name: str = 'torch'
    precision: str = 'f32'
    chunk: float = 32 * 2**20
    lanes: int = 1
    compiles: bool = False
    whole_bytes: float = 2**30

    def __init__(self) -> None:
        self.reasons: dict[str, str] = {}
        self.shape: tuple[int, ...] | None = None

    def write(self, step: RowStep, x: torch.Tensor, grid: Grid, state: Any = None) -> Any:
        """``step.write(x, grid, state)``."""
        return step.write(x, grid, state)

    def read(self, step: RowStep, x: torch.Tensor, grid: Grid, state: Any, keep: Grid) -> torch.Tensor:
        """``step.read(x, grid, state, keep)``."""
        return step.read(x, grid, state, keep)

    def write_each(
        self, step: RowStep, strips: Iterable[tuple[torch.Tensor, Grid]], state: Any = None
    ) -> Iterator[Any]:
        """``step.write`` of strips ``x, grid``, in their order; an engine may ask for some of them ahead."""
        for x, grid in strips:
            yield self.write(step, x, grid, state)
            # a generator keeps its names while it waits: without this, two strips would be in memory
            del x

    def read_each(self, step: RowStep, strips: Iterable[Strip], state: Any) -> Iterator[torch.Tensor]:
        """``step.read`` of strips, in their order; an engine may ask for some of them ahead.

        What comes out may be written over as soon as the next is asked for.
        """
        for x, grid, keep in strips:
            answer = self.read(step, x, grid, state, keep)
            # as above: neither the input nor the answer may outlive its use
            del x
            yield answer
            del answer

    def read_write_each(
        self, step: RowStep, after: RowStep, strips: Iterable[Strip], state: Any
    ) -> Iterator[tuple[torch.Tensor, Any]]:
        """As :meth:`read_each`, each with what the first sweep of ``after`` writes of it."""
        for strip in strips:
            for answer in self.read_each(step, [strip], state):
                yield answer, self.write(after, answer, strip.keep)
                del answer
            del strip

    def apply(
        self,
        function: Callable[..., Any],
        modules: Sequence[nn.Module],
        *inputs: torch.Tensor,
        example: Sequence[torch.Tensor] | None = None,
        recurs: bool = False,
    ) -> Any:
        """``function(*inputs)``, a tensor or a tuple of them, computed by the modules ``modules`` for any sizes.

        Args:
            function: The function. What it reads of the sizes of its inputs has to work in a graph for any size.
            modules: The modules.
            inputs: What it is given.
            example: Smaller inputs, for engines that trace the function; None for ``inputs``.
            recurs: Whether more inputs of these sizes follow, for which it pays to compile at once.
        """
        return function(*inputs)

    @property
    def strip_engine(self) -> Engine:
        """The engine that runs an image that is too large for one piece."""
        return self

    def refusal(self, x: torch.Tensor) -> str | None:
        """Why the engine cannot run a model on such an input, as the second half of a sentence; None if it can."""
        return None

    def step_reason(self, step: RowStep) -> str | None:
        """Why a step ran as PyTorch modules though the engine compiles steps, as a sentence; None if it did not."""
        return None

    def note(self, part: str, reason: str) -> None:
        """Record why a part of a model runs as PyTorch modules, or over whole maps."""
        self.reasons[part] = reason

    def holds(self, parts: Iterable[Part], batch: int = 1, number: float = 4, chunk: float | None = None) -> float:
        """Bytes that the engine will hold from one strip to the next, and does not hold yet, by estimate.

        Args:
            parts: What will be run in strips.
            batch: Images.
            number: Bytes of a number, as steps count them.
            chunk: Bytes of a strip, as steps count them; None for :attr:`chunk`.
        """
        return 0.0

    def release(self) -> None:
        """Give back memory that is kept from one run to the next."""

    def running(self) -> AbstractContextManager:
        """Entered around every run over a model, so that an engine can set threads."""
        return nullcontext()


TORCH = Engine()


def engine_of(module: nn.Module) -> Engine:
    """The engine that a model was told to use (see :func:`saga_mm.engines.use_engine`), or PyTorch."""
    return getattr(module, 'engine', TORCH)
