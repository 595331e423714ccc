"""Calls of a compiled graph, several of which may run at the same time."""

from __future__ import annotations

import time
from collections.abc import Sequence
from contextlib import suppress
from typing import TYPE_CHECKING

import numpy as np

from .library import tensor

if TYPE_CHECKING:
    import openvino

    from .program import Program

# shapes of all inputs
Sizes = tuple[tuple[int, ...], ...]
# bytes of inputs that are not maps
SMALL = 2**18


class CompiledGraph:
    """A compiled model and its idle requests, which have one set of buffers each.

    Args:
        model: The model.
        fixed: Whether it is for one set of sizes alone.

    Attributes:
        idle: Requests whose first ``n`` results are their own, by ``n``; the others need an array to be written into.
    """

    def __init__(self, model: openvino.CompiledModel, fixed: bool) -> None:
        self.model, self.fixed = model, fixed
        self.idle: dict[int, list[_Request]] = {}
        self.results = [(port.shape, port.element_type.to_dtype()) for port in model.outputs] if fixed else []


class _Request:
    """A request, and the small arrays that it was given last, which are given to many calls."""

    def __init__(self, request: openvino.InferRequest) -> None:
        self.request = request
        self.given: dict[int, np.ndarray] = {}

    def give(self, i: int, array: np.ndarray) -> None:
        """Make an array the i-th input."""
        if self.given.get(i) is not array:
            self.request.set_input_tensor(i, tensor(array))
            # no map is kept alive
            self.given[i] = array if array.nbytes < SMALL else None


class RunningCall:
    """A call of a program that has started.

    Args:
        program: The program.
        sizes: Of the inputs.
        compiled: What runs them.
        inputs: The inputs.
    """

    def __init__(
        self,
        program: Program,
        sizes: Sizes,
        compiled: CompiledGraph,
        inputs: Sequence[np.ndarray],
    ) -> None:
        self.program, self.sizes, self.compiled, self.inputs = program, sizes, compiled, inputs
        # of what is compiled for any size, OpenVINO does not know beforehand how large the results become
        self.own = program.passing if compiled.fixed else len(compiled.model.outputs)
        self.made = [np.empty(*result) for result in compiled.results[self.own :]]
        idle = compiled.idle.setdefault(self.own, [])
        self._taken = idle.pop() if idle else _Request(compiled.model.create_infer_request())
        self.request = self._taken.request
        for i, array in enumerate(inputs):
            self._taken.give(i, array)
        for i, array in enumerate(self.made, self.own):
            self.request.set_output_tensor(i, tensor(array))
        self.start = time.perf_counter()
        self.request.start_async()

    def results(self) -> list[np.ndarray]:
        """Wait for the results; arrays in buffers are valid until :meth:`drop`."""
        self.request.wait()
        self.program.ran(self.sizes, time.perf_counter() - self.start)
        found = [self.request.get_output_tensor(i).data for i in range(self.own)]
        return [array if i < self.program.passing else array.copy() for i, array in enumerate(found)] + self.made

    def drop(self) -> None:
        """Release the buffers for the next call."""
        if self.request is not None:
            # what was given must stay as long as it runs
            with suppress(RuntimeError):
                self.request.wait()
            self.compiled.idle[self.own].append(self._taken)
            self.request = None
