"""Pieces of a map that a compiled step works on."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import torch
from torch.utils._pytree import tree_flatten

from saga_mm.ops import Grid
from saga_mm.rows import RowStep

from .openvino_step import ConversionError, frame_of, is_input

if TYPE_CHECKING:
    from .openvino import Compiled, OpenVINOEngine

Piece = tuple[torch.Tensor, Grid, Grid | None]


class RunningPiece:
    """A piece that runs from now on.

    Args:
        engine: Told where OpenVINO fails; then PyTorch computes the answer.
        part: The compiled step.
        step: The step.
        piece: Tokens, where they stand, and the rows of the output; None for these where the step writes its state.
        state: What is read, or the state of the sweep before.
    """

    def __init__(self, engine: OpenVINOEngine, part: Compiled, step: RowStep, piece: Piece, state: Any) -> None:
        x, grid, keep = piece
        if engine.ahead:
            # the map that it was read from may be written over meanwhile
            x = x.detach().clone(memory_format=torch.contiguous_format)
        self.engine, self.part, self.step, self.piece, self.state = engine, part, step, (x, grid, keep), state
        frame = torch.empty(*(side + 1 for side in frame_of(grid, keep, step.stride)), dtype=torch.uint8)
        leaves = [leaf for leaf in tree_flatten(state)[0] if is_input(leaf)]
        positions = [tensor for call in part.phase.calls for tensor in call.tensors(grid)]
        tensors = (x.unflatten(1, (grid.rows, grid.width)), frame, *leaves, *positions)
        self.inputs = [tensor.detach().contiguous().numpy() for tensor in tensors]
        self.call = None
        with self._failing():
            self.call = part.program.start(self.inputs)

    def answer(self) -> Any:
        """What the step makes of it; tokens are lost with :meth:`drop`."""
        if self.call is not None:
            with self._failing():
                return self.part.phase.result(self.call.results(), len(self.piece[0]))
        return plain_answer(self.step, self.piece, self.state)

    def drop(self) -> None:
        """Let the next piece have its buffers."""
        if self.call is not None:
            self.call.drop()

    @contextmanager
    def _failing(self) -> Iterator[None]:
        try:
            yield
        except (RuntimeError, ConversionError) as error:
            self.engine.fails(self.part, self.inputs, error)


def plain_answer(step: RowStep, piece: Piece, state: Any) -> Any:
    """What a step makes of a piece in PyTorch."""
    x, grid, keep = piece
    return step.write(x, grid, state) if keep is None else step.read(x, grid, state, keep)
