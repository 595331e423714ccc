"""Strips that a compiled step computes, some of them at the same time."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import lru_cache
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import torch
from torch import nn
from torch.utils._pytree import tree_flatten

from saga_mm.rows import RowStep, Strip

from .openvino_step import ConversionError, frame_of, is_input
from .program import sizes_of

if TYPE_CHECKING:
    from .compiled_parts import Compiled
    from .openvino import OpenVINOEngine


class Work(NamedTuple):
    """What a step computes of strips: a sweep that it writes, or what it reads.

    Attributes:
        step: The step.
        sweep: Which of its sweeps is written, from 0; ``step.sweeps`` where it is read.
        state: What is read, or the state of the sweep before.
        after: A step whose first sweep writes what is read; None for none.
    """

    step: RowStep
    sweep: int
    state: Any
    after: RowStep | None = None

    @property
    def leaves(self) -> list[np.ndarray]:
        """The tensors of the state."""
        return [leaf.detach().contiguous().numpy() for leaf in tree_flatten(self.state)[0] if is_input(leaf)]

    @property
    def modules(self) -> list[nn.Module]:
        """The modules that compute it."""
        return [*self.step.step_modules, *(() if self.after is None else self.after.step_modules)]

    def facts(self, x: torch.Tensor) -> tuple:
        """A key that differs for other work of the same modules; ``x`` are tokens of its input."""
        joined = () if self.after is None else ('and', self.after.label)
        return self.step.label, self.sweep, x.shape[-1], *joined

    def plain(self, strip: Strip) -> Any:
        """Compute a strip with PyTorch."""
        x, grid, keep = strip
        if keep is None:
            return self.step.write(x, grid, self.state)
        answer = self.step.read(x, grid, self.state, keep)
        return answer if self.after is None else (answer, self.after.write(answer, keep))


class RunningStrip:
    """A strip whose computation has started.

    Args:
        engine: Records a failure of OpenVINO; PyTorch then computes the result.
        part: What is compiled.
        work: What it computes.
        strip: Tokens, where they stand, and the rows of the output; None for these where the step writes its state.
        leaves: Those of ``work``.
    """

    def __init__(
        self, engine: OpenVINOEngine, part: Compiled, work: Work, strip: Strip, leaves: Sequence[np.ndarray]
    ) -> None:
        x, grid, keep = strip
        if engine.ahead:
            # the map that it was read from may be written over meanwhile
            x = x.detach().clone(memory_format=torch.contiguous_format)
        self.engine, self.part, self.work, self.strip = engine, part, work, Strip(x, grid, keep)
        x = x.detach().unflatten(1, (grid.rows, grid.width)).contiguous().numpy()
        places = [tensor.detach().contiguous().numpy() for tensor in part.phase.tensors(grid, keep)]
        self.inputs = [x, _frame(*frame_of(grid, keep, work.step.stride)), *leaves, *places]
        self.call = None
        with self._failing():
            self.call = part.program.start(self.inputs)

    def answer(self) -> Any:
        """Wait for the result; its tokens are valid until :meth:`drop`."""
        if self.call is not None:
            with self._failing():
                return self.part.phase.result(self.call.results(), len(self.strip.x))
        start = time.perf_counter()
        answer = self.work.plain(self.strip)
        if self.part.program is not None:
            self.part.program.ran(sizes_of(self.inputs), time.perf_counter() - start)
        return answer

    def drop(self) -> None:
        """Release the buffers for the next strip."""
        if self.call is not None:
            self.call.drop()

    @contextmanager
    def _failing(self) -> Iterator[None]:
        try:
            yield
        except (RuntimeError, ConversionError) as error:
            self.engine.compiled.fails(self.part, self.inputs, error)


@lru_cache(64)
def _frame(*sides: int) -> np.ndarray:
    """A tensor whose sides are these numbers plus one."""
    return np.empty([side + 1 for side in sides], np.uint8)
