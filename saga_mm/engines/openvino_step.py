"""Convert a row step to an OpenVINO model for strips of any height and width."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import cache
from typing import TYPE_CHECKING, Any

import torch
from torch import nn
from torch.utils._pytree import tree_flatten, tree_unflatten

from saga_mm.ops import Grid, ceil_div, round_up
from saga_mm.ops.positions import Call, Recorder
from saga_mm.rows import RowStep

from .library import import_openvino, silence

if TYPE_CHECKING:
    import openvino

# of the strip that a step is traced with; a prime number of columns is no number of channels or heads
ROWS, COLUMNS = 3, 37


class ConversionError(Exception):
    """A step cannot be compiled; the text says why, in a few words."""


class Phase:
    """One phase of a step as a function of tensors alone, with an example of its inputs.

    Args:
        step: The step.
        sweep: Which of its sweeps is written, from 0; ``step.sweeps`` for the phase that reads.
        channels: Of the tokens.
        after: A step whose first sweep writes what is read, in the same function; None for none.

    Attributes:
        reads: Whether it is the phase that reads.
        calls: What depends on where a strip stands, of each step.
        spec: Structure of the result.
        kinds: For each leaf of the result ``'tensor'``, ``'int'``, None, or the shape of an empty tensor but its batch.

    Raises:
        ConversionError: The step cannot run on the example, or does what a compiled step cannot express.
    """

    def __init__(self, step: RowStep, sweep: int, channels: int, after: RowStep | None = None) -> None:
        self.step, self.sweep, self.reads, self.after = step, sweep, sweep == step.sweeps, after
        self.channels = channels
        self.calls: list[list[Call]] | None = None
        multiple = 1 if after is None else after.row_multiple
        # rows of the input from one place where a strip may start to the next
        self.unit = step.stride * math.lcm(step.row_multiple, multiple)
        self.example = self._inputs(ROWS, COLUMNS)

    def _inputs(self, rows: int, columns: int) -> tuple[torch.Tensor, ...]:
        """Inputs of :meth:`run` for a strip inside a map; its rows and columns are counted in the step's multiples."""
        step, unit = self.step, self.unit
        halo = step.halo if self.reads else 0
        height, width = rows * unit + 2 * step.halo, columns * unit
        start = round_up(step.halo + 1, unit) - halo
        x, grid = torch.rand(1, height, width, self.channels), Grid(start + height + 1, width, start, start + height)
        with torch.no_grad(), refusals():
            state = None
            for _ in range(self.sweep):
                state = step.merge([step.write(x.flatten(1, 2), grid, state)])
            self.state_leaves, self.state_spec = tree_flatten(state)
            frame = torch.zeros(halo + 1, halo + 1, 2, 2, dtype=torch.uint8)
            floats = [leaf.float() for leaf in self.state_leaves if is_input(leaf)]
            if self.calls is None:
                self.run(x, frame, *floats)
            kept = self._kept(grid, halo, halo)
            return (x, frame, *floats, *self.tensors(grid, kept))

    def _kept(self, grid: Grid, above: int, below: int) -> Grid:
        """The rows of the output that a strip at ``grid`` makes, without some rows above and below."""
        sides = (grid.height, grid.width, grid.start + above, grid.stop - below)
        return Grid(*(ceil_div(side, self.step.stride) for side in sides))

    def tensors(self, grid: Grid, keep: Grid | None) -> list[torch.Tensor]:
        """What depends on where a strip stands, of a strip at ``grid`` of which ``keep`` is made."""
        pairs = zip(self.calls, (grid, keep))
        return [tensor for calls, where in pairs for call in calls for tensor in call.tensors(where)]

    def check(self, program: Callable[[Sequence[Any]], Sequence[Any]], tolerance: float) -> None:
        """Compare what was compiled with the step, on a strip of another size than it was traced with.

        Raises:
            ConversionError: They differ: the step computes with a size that the tracer takes for a constant.
        """
        inputs = self._inputs(ROWS + 1, COLUMNS + 4)
        with torch.no_grad(), refusals():
            wanted = self.run(*inputs)
            compare_results(program([x.contiguous().numpy() for x in inputs]), wanted, tolerance)

    def run(self, x: torch.Tensor, frame: torch.Tensor, *tensors: torch.Tensor) -> tuple[torch.Tensor, ...]:
        """The tensors of the result.

        Args:
            x: The strip ``(B, rows, width, C)``.
            frame: A tensor whose sides, less one, are the numbers of :func:`frame_of`.
            tensors: The float tensors of the state, and those of ``calls``.
        """
        step, (rows, width) = self.step, x.shape[1:3]
        # the tracer makes constants of numbers, and variables of the sides of tensors
        above, below, before, after = (side - 1 for side in frame.shape)
        # the rows that are kept begin where a strip may start
        start = before * (round_up(step.halo + 1, self.unit) - above)
        grid, given = Grid(start + rows + after, width, start, start + rows), iter(tensors)
        leaves = [next(given) if is_input(leaf) else _stand_in(leaf) for leaf in self.state_leaves]
        state, tokens = tree_unflatten(leaves, self.state_spec), x.flatten(1, 2)
        known = self.calls or [None, None]
        with Recorder(grid, known[0], given) as recorder:
            if self.reads:
                kept = self._kept(grid, above, below)
                result = step.read(tokens, grid, state, kept)
            else:
                result = step.write(tokens, grid, state)
        recorders = [recorder]
        if self.after is not None:
            with Recorder(kept, known[1], given) as recorder:
                result = result, self.after.write(result, kept)
            recorders.append(recorder)
        leaves, spec = tree_flatten(result)
        if self.calls is None:
            self.spec, self.kinds = spec, [_kind(leaf) for leaf in leaves]
            self.calls = [recorder.calls for recorder in recorders]
        return tuple(torch.as_tensor(leaf) for leaf, kind in zip(leaves, self.kinds) if kind in ('tensor', 'int'))

    def convert(self, modules: Sequence[nn.Module]) -> openvino.Model:
        """The phase as a model of OpenVINO's, for inputs of any batch, rows and width.

        Args:
            modules: The modules that the step computes with.

        Raises:
            ConversionError: The tracer or the converter does not take a part of it.
        """
        return convert_function(self.run, modules, self.example)

    def result(self, arrays: Sequence[Any], batch: int) -> Any:
        """The result of the step, of the arrays that a compiled step gives."""
        given = iter(arrays)
        return tree_unflatten([self._leaf(kind, given, batch) for kind in self.kinds], self.spec)

    @staticmethod
    def _leaf(kind: Any, given: Iterator[Any], batch: int) -> Any:
        if kind == 'tensor':
            return torch.from_numpy(next(given))
        if kind == 'int':
            return int(next(given))
        return None if kind is None else torch.zeros(batch, *kind)


def compare_results(results: Sequence[Any], wanted: Sequence[torch.Tensor], tolerance: float) -> None:
    """Refuse results that differ from what is wanted by more than a share of its largest value.

    Raises:
        ConversionError: They do.
    """
    for array, want in zip(results, wanted, strict=True):
        result = torch.from_numpy(array)
        if result.shape != want.shape:
            raise ConversionError(f'at another size it gives {tuple(result.shape)} for {tuple(want.shape)}')
        difference, scale = (result - want).abs().max(), want.abs().max().clamp(min=1e-6)
        if not difference <= tolerance * scale:
            raise ConversionError(f'at another size it differs by {difference / scale:.1e} of the largest value')


def convert_function(
    function: Callable[..., Any], modules: Sequence[nn.Module], example: Sequence[torch.Tensor]
) -> openvino.Model:
    """A function of tensors as a model of OpenVINO's, for inputs of any sizes.

    Args:
        function: The function.
        modules: The modules that it computes with.
        example: Inputs to trace it with.

    Raises:
        ConversionError: The tracer or the converter does not take a part of it.
    """
    import_openvino()
    # openvino.convert_model does the same, optimises what is optimised again when it is compiled, and reports its use
    # over the network
    from openvino.frontend.pytorch.ts_decoder import TorchScriptPythonDecoder

    with torch.no_grad(), refusals(), silence(), _constant(modules):
        # to trace a function takes a third of the time of a module, which the tracer copies layer by layer
        # (and a method of a module is one to the tracer, which takes a plain function alone)
        traced = torch.jit.trace(lambda *inputs: function(*inputs), tuple(example), check_trace=False)
        _, front = _front_end()
        # weights are not copied; constants keep them alive
        decoder = TorchScriptPythonDecoder(traced, example_input=tuple(example), shared_memory=True)
        return front.convert(front.load(decoder))


@cache
def _front_end() -> tuple[Any, Any]:
    """OpenVINO's reader of traced functions, and its manager, which has to live as long."""
    from openvino.frontend import FrontEndManager

    manager = FrontEndManager()
    return manager, manager.load_by_framework('pytorch')


def frame_of(grid: Grid, keep: Grid | None, stride: int) -> tuple[int, int, int, int]:
    """Where a strip at ``grid`` stands, as far as a compiled step has to know: the sides, less one, of a tensor.

    Returns:
        Rows above and below those that make ``keep``, and 1 or 0: whether the map has rows before and after the strip.
    """
    before, after = int(grid.start > 0), int(grid.stop < grid.height)
    if keep is None:
        return 0, 0, before, after
    return keep.start * stride - grid.start, max(grid.stop - keep.stop * stride, 0), before, after


def is_input(leaf: Any) -> bool:
    """Whether a leaf of a state is an input of a compiled step: a tensor that is not empty, which OpenVINO refuses."""
    return isinstance(leaf, torch.Tensor) and leaf.numel() > 0


class Unknown:
    """Stands for a number of the state, such as its count of tokens, which would be a constant of the compiled step."""

    def _refuse(self, *args: Any) -> Any:
        raise ConversionError('it computes with a number of its state')

    __add__ = __radd__ = __mul__ = __rmul__ = __truediv__ = __rtruediv__ = __sub__ = __rsub__ = __int__ = __float__ = (
        _refuse
    )


@contextmanager
def refusals() -> Iterator[None]:
    """Make a :class:`ConversionError` of whatever a step, the tracer or the converter says."""
    try:
        yield
    except ConversionError:
        raise
    except Exception as error:
        reason = (str(error).strip() or type(error).__name__).splitlines()[0]
        raise ConversionError(f'it does not convert ({reason[:120]})') from error


def _kind(leaf: Any) -> Any:
    if isinstance(leaf, torch.Tensor) and leaf.ndim:
        return 'tensor' if leaf.numel() else tuple(leaf.shape[1:])
    return leaf if leaf is None else 'int'


def _stand_in(leaf: Any) -> Any:
    return leaf if leaf is None or isinstance(leaf, torch.Tensor) else Unknown()


@contextmanager
def _constant(modules: Sequence[nn.Module]) -> Iterator[None]:
    """With weights as the tracer takes them for constants of a function."""
    trained = [weight for module in modules for weight in module.parameters() if weight.requires_grad]
    for weight in trained:
        weight.requires_grad_(False)
    try:
        yield
    finally:
        for weight in trained:
            weight.requires_grad_(True)
