"""A function compiled by OpenVINO for inputs of any size, and once more for sizes that recur."""

from __future__ import annotations

import io
import math
import time
from collections import OrderedDict
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from .cache import StepCache
from .library import core, tensor
from .openvino_step import ConversionError

if TYPE_CHECKING:
    import openvino

# sets of sizes that are kept compiled for themselves
SETS = 3
# sets of sizes whose time is remembered
REMEMBERED = 64


class Settings(NamedTuple):
    """How OpenVINO compiles.

    Attributes:
        precision: ``'f32'`` or ``'bf16'``.
        threads: Of the CPU.
    """

    precision: str
    threads: int

    @property
    def options(self) -> dict[str, object]:
        """As OpenVINO names them."""
        return {
            'INFERENCE_PRECISION_HINT': self.precision,
            'INFERENCE_NUM_THREADS': self.threads,
            'PERFORMANCE_HINT': 'LATENCY',
        }


class Program:
    """A compiled function.

    Args:
        convert: Makes the model, for inputs of any size; called when it is not in the cache.
        settings: How it is compiled.
        key: Tells it from all others in the cache; None if it cannot be kept.
        cache: Where compiled steps are kept.
        check: Raises if what was compiled gives other results than it should; called when it is not in the cache.
        hot: How many times as long as to compile takes, one set of sizes runs before it is compiled for itself.

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
        hot: float,
    ) -> None:
        self._convert, self._settings, self._key, self._cache = convert, settings, key, cache
        self._model: openvino.Model | None = None
        self._hot = hot
        # seconds that it took last to compile
        self._cost = 0.0
        self._any = self._compiled(None)
        # seconds so far, or what was compiled for these sizes
        self._uses: OrderedDict[tuple, float | openvino.InferRequest] = OrderedDict()
        if self._model is not None:
            check(self)
            if key:
                cache.put(f'{key}-', _blob(self._any.get_compiled_model()))

    def __call__(self, inputs: Sequence[np.ndarray]) -> list[np.ndarray]:
        """The results; they are overwritten by the next call."""
        shapes = tuple(array.shape for array in inputs)
        use = self._uses.pop(shapes, 0.0)
        if isinstance(use, float) and use > self._hot * self._cost:
            # convolutions then take and give tokens as they lie in memory
            try:
                use = self._compiled(shapes)
            except ConversionError:
                # what runs at any size goes on
                use = -math.inf
            special = [key for key, other in self._uses.items() if not isinstance(other, float)]
            if len(special) >= SETS:
                del self._uses[special[0]]
        request, start = self._any if isinstance(use, float) else use, time.perf_counter()
        for i, array in enumerate(inputs):
            request.set_input_tensor(i, tensor(array))
        request.infer(share_outputs=True)
        self._uses[shapes] = use + time.perf_counter() - start if isinstance(use, float) else use
        if len(self._uses) > REMEMBERED:
            self._uses.popitem(last=False)
        return [request.get_output_tensor(i).data for i in range(len(request.model_outputs))]

    def _compiled(self, shapes: tuple | None) -> openvino.InferRequest:
        start = time.perf_counter()
        key = self._key and f'{self._key}-{"-".join("x".join(map(str, shape)) for shape in shapes or ())}'
        kept = self._cache.get(key) if key else None
        if kept is not None:
            try:
                return core().import_model(kept, 'CPU', self._settings.options).create_infer_request()
            except RuntimeError:
                # of another build of OpenVINO: compiled anew, and replaced
                pass
        try:
            if self._model is None:
                self._model = self._convert()
            model = self._model
            if shapes is not None:
                model = model.clone()
                model.reshape({port: list(shape) for port, shape in zip(model.inputs, shapes, strict=True)})
            compiled = core().compile_model(model, 'CPU', self._settings.options)
        except RuntimeError as error:
            raise ConversionError(
                f'OpenVINO does not compile it ({str(error).strip().splitlines()[-1][:120]})'
            ) from error
        # for any sizes, it is kept when it was compared
        if key and shapes is not None:
            self._cache.put(key, _blob(compiled))
        self._cost = time.perf_counter() - start
        return compiled.create_infer_request()


def _blob(compiled: openvino.CompiledModel) -> bytes:
    stream = io.BytesIO()
    compiled.export_model(stream)
    return stream.getvalue()
