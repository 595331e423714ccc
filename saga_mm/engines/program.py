"""A function compiled by OpenVINO for inputs of any size, and once more for sizes that recur."""

from __future__ import annotations

import io
import math
from collections import OrderedDict
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from .cache import StepCache
from .library import core
from .openvino_step import ConversionError, refusals
from .running_call import CompiledGraph, RunningCall, Sizes
from .simplify import simplify

if TYPE_CHECKING:
    import openvino

# sets of sizes that are kept compiled for themselves
SETS = 4
# sets of sizes whose time is remembered
REMEMBERED = 64


class Usual(NamedTuple):
    """When a function is compiled for one set of sizes alone.

    Attributes:
        seconds: That inputs of these sizes have run before.
        known_seconds: The same where an earlier program compiled it, which is then read.
        numbers: Of the first input, from which it is compiled at once.
    """

    seconds: float
    known_seconds: float
    numbers: float = math.inf


class Settings(NamedTuple):
    """How OpenVINO compiles.

    Attributes:
        precision: ``'f32'`` or ``'bf16'``.
        threads: Of the CPU.
        lanes: Sets of inputs that run together, on threads of their own.
    """

    precision: str
    threads: int
    lanes: int = 1

    @property
    def options(self) -> dict[str, object]:
        """As OpenVINO names them."""
        return {
            'INFERENCE_PRECISION_HINT': self.precision,
            'INFERENCE_NUM_THREADS': self.threads,
            'NUM_STREAMS': self.lanes,
        }


class Program:
    """A compiled function.

    Args:
        convert: Makes the model, for inputs of any size; called when it is not in the cache.
        settings: How it is compiled.
        key: Tells it from all others in the cache; None if it cannot be kept.
        cache: Where compiled steps are kept.
        check: Raises if what was compiled gives other results than it should; called when it is not in the cache.
        usual: When it is compiled for one set of sizes alone.
        passing: How many results, from the first on, the next call may write over; the others stay as they are.
        lean: Give back what is compiled for any size as soon as something is compiled for one, and leave the other
            sizes to PyTorch: each holds the weights in an order of its own.

    Raises:
        ConversionError: It cannot be compiled.
    """

    def __init__(
        self,
        convert: Callable[[], openvino.Model],
        settings: Settings,
        key: str | None,
        cache: StepCache,
        check: Callable[[Program], None],
        usual: Usual,
        passing: int = 0,
        lean: bool = False,
    ) -> None:
        self._convert, self._settings, self._key, self._cache = convert, settings, key, cache
        self._check, self._usual, self.passing, self.lean = check, usual, passing, lean
        self._model: openvino.Model | None = None
        self._any: CompiledGraph | None = None
        self._last: CompiledGraph | None = None
        # seconds so far, or what was compiled for these sizes
        self._uses: OrderedDict[Sizes, float | CompiledGraph] = OrderedDict()
        # what ran last, and how often in turn
        self._before, self._streak = None, 0
        if key is None or not cache.has(key):
            self._general()

    def __call__(self, inputs: Sequence[np.ndarray]) -> list[np.ndarray]:
        """The results of what is compiled for any size, as arrays that stay."""
        call = RunningCall(self, sizes_of(inputs), self._general(), inputs)
        try:
            return [np.array(array) for array in call.results()]
        finally:
            call.drop()

    def start(self, inputs: Sequence[np.ndarray]) -> RunningCall | None:
        """Begin to compute the results for inputs, which must not change meanwhile.

        Returns:
            None where the program is lean and holds nothing for inputs of these sizes: PyTorch computes the results,
            and :meth:`ran` is told how long it took.
        """
        sizes = sizes_of(inputs)
        found = self._found(sizes)
        if not self.lean and self._last not in (None, found):
            # whole images of two sizes would take twice the memory
            self._last.model.release_memory()
        self._last = found
        return None if found is None else RunningCall(self, sizes, found, inputs)

    def ran(self, sizes: Sizes, seconds: float) -> None:
        """Add the seconds that inputs of these sizes took without a graph of their own."""
        use = self._uses.get(sizes)
        if isinstance(use, float):
            self._uses[sizes] = use + seconds

    def release(self) -> None:
        """Free the buffers that calls keep for the next call."""
        for compiled in (self._any, *self._uses.values()):
            if isinstance(compiled, CompiledGraph):
                compiled.model.release_memory()

    def _found(self, sizes: Sizes) -> CompiledGraph | None:
        """The compiled model that runs inputs of these sizes."""
        self._streak = self._streak + 1 if sizes == self._before else 1
        self._before = sizes
        use = self._uses.pop(sizes, 0.0)
        # the first and the last strip of a map never come twice in turn
        recurs = not self.lean or self._streak > 1
        if isinstance(use, float) and recurs and self._is_usual(sizes, use):
            use = self._special(sizes)
        self._uses[sizes] = use
        if len(self._uses) > REMEMBERED:
            self._uses.popitem(last=False)
        if not isinstance(use, float):
            return use
        if self.lean and self._any is None and any(not isinstance(use, float) for use in self._uses.values()):
            return None
        return self._general()

    def _is_usual(self, sizes: Sizes, use: float) -> bool:
        """Whether compiling a graph for these sizes alone pays after ``use`` seconds of running them."""
        usual = self._usual
        if use > usual.seconds or (use >= usual.known_seconds and self._is_known(sizes)):
            return True
        return use >= 0 and math.prod(sizes[0]) >= usual.numbers

    def _general(self) -> CompiledGraph:
        """The model that is compiled for inputs of any size."""
        if self._any is None:
            self._any = self._compiled(None)
            if self._model is not None:
                self._check(self)
                if self._key:
                    self._cache.put(f'{self._key}-', _blob(self._any.model))
        return self._any

    def _is_known(self, sizes: Sizes) -> bool:
        """Whether the cache has a model for these sizes alone, and there is memory for it."""
        special = sum(not isinstance(use, float) for use in self._uses.values())
        return special < SETS and self._key is not None and self._cache.holds(self._name(sizes))

    def _special(self, sizes: Sizes) -> float | CompiledGraph:
        """The model that is compiled for these sizes alone."""
        # convolutions then take and give tokens as they lie in memory
        try:
            special = self._compiled(sizes)
        except ConversionError:
            # what runs at any size goes on
            return -math.inf
        others = [key for key, use in self._uses.items() if not isinstance(use, float)]
        if len(others) >= SETS:
            del self._uses[others[0]]
        if self.lean:
            self._any = self._model = None
        return special

    def _name(self, sizes: Sizes | None) -> str:
        """In the cache."""
        return f'{self._key}-{"-".join("x".join(map(str, shape)) for shape in sizes or ())}'

    def _compiled(self, sizes: Sizes | None) -> CompiledGraph:
        kept = self._cache.get(self._name(sizes)) if self._key else None
        if kept is not None:
            try:
                return CompiledGraph(core().import_model(kept, 'CPU', self._settings.options), sizes is not None)
            except RuntimeError:
                # of another build of OpenVINO: compiled anew, and replaced
                pass
        try:
            if self._model is None:
                self._model = self._convert()
            model = self._model
            if sizes is not None:
                model = model.clone()
                model.reshape({port: list(shape) for port, shape in zip(model.inputs, sizes, strict=True)})
                with refusals():
                    simplify(model)
            compiled = core().compile_model(model, 'CPU', self._settings.options)
        except RuntimeError as error:
            raise ConversionError(
                f'OpenVINO does not compile it ({str(error).strip().splitlines()[-1][:120]})'
            ) from error
        # for any sizes, it is kept when it was compared
        if self._key and sizes is not None:
            self._cache.put(self._name(sizes), _blob(compiled))
        return CompiledGraph(compiled, sizes is not None)


def sizes_of(inputs: Sequence[np.ndarray]) -> Sizes:
    """The shapes of all inputs."""
    return tuple(array.shape for array in inputs)


def _blob(compiled: openvino.CompiledModel) -> bytes:
    stream = io.BytesIO()
    compiled.export_model(stream)
    return stream.getvalue()
