"""An engine that compiles row steps with OpenVINO, on CPUs."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, suppress
from typing import Any, NamedTuple
from weakref import WeakKeyDictionary

import torch
from torch import nn
from torch.utils._pytree import tree_flatten

from saga_mm.models.watched import has_hook
from saga_mm.ops import Grid
from saga_mm.rows import TORCH, Engine, RowStep

from .cache import StepCache
from .fingerprint import UnknownPartError, in_place_version, step_key
from .library import core, import_openvino
from .openvino_step import ConversionError, Phase, compare_results, convert_function, frame_of, is_input, refusals
from .program import Program, Settings

# how far what is compiled may be from PyTorch, as a share of the largest value, by precision
TOLERANCES = {'f32': 1e-4, 'bf16': 0.2}


class Compiled(NamedTuple):
    """What an engine keeps of a part of a model.

    Attributes:
        version: Of weights and modules, in memory.
        program: None where the part runs as PyTorch modules.
        phase: How its arguments and results are laid out; None for a plain function.
    """

    version: tuple
    program: Program | None
    phase: Phase | None = None


class OpenVINOEngine(Engine):
    """Compiles row steps with OpenVINO when they first run, and keeps them on disk for the next start.

    What it cannot compile runs as PyTorch modules: ``reasons`` says why. A part with hooks is not compiled.

    Args:
        precision: ``'f32'``, or ``'bf16'`` for products in bfloat16. States are float32 all the same.
        threads: Of the CPU; None for as many as PyTorch uses.
        patient: Run a part that is not on disk in PyTorch until that has taken as long as compiling takes, and leave
            strips to PyTorch.
        cache: Where compiled steps are kept; None for the user's cache folder.

    Attributes:
        step_seconds: How long a step runs in PyTorch before a patient engine compiles it: about what that takes.
        whole_seconds: The same of a whole model.
        hot: As of :class:`~saga_mm.engines.program.Program`.
    """

    name = 'openvino'
    step_seconds: float = 0.2
    whole_seconds: float = 2.0
    hot: float = 5.0

    def __init__(
        self,
        precision: str = 'f32',
        threads: int | None = None,
        patient: bool = False,
        cache: StepCache | None = None,
    ) -> None:
        super().__init__()
        self.precision, self.patient = precision, patient
        # seconds for which parts have run in PyTorch that wait to be compiled
        self._waited: dict[tuple, float] = {}
        self.settings = Settings(precision, threads or torch.get_num_threads())
        self.cache = cache or StepCache()
        self._parts: WeakKeyDictionary[nn.Module, dict[tuple, Compiled]] = WeakKeyDictionary()
        # a compiled step has one set of buffers
        self._lock = threading.RLock()
        # parts whose weights were compared in this run
        self._checked: set[tuple] = set()
        self._depth = 0

    def write(self, step: RowStep, x: torch.Tensor, grid: Grid, state: Any = None) -> Any:
        with self._step(step, 0 if state is None else 1, x) as part:
            if part is not None:
                with suppress(ConversionError):
                    return self._run(part, step, x, grid, state, None)
            return super().write(step, x, grid, state)

    def read(self, step: RowStep, x: torch.Tensor, grid: Grid, state: Any, keep: Grid) -> torch.Tensor:
        with self._step(step, step.sweeps, x) as part:
            if part is not None:
                with suppress(ConversionError):
                    return self._run(part, step, x, grid, state, keep)
            return super().read(step, x, grid, state, keep)

    def apply(
        self,
        function: Callable[..., Any],
        modules: Sequence[nn.Module],
        *inputs: torch.Tensor,
        example: Sequence[torch.Tensor] | None = None,
    ) -> Any:
        label = getattr(function, '__qualname__', type(function).__name__)

        def make(key: str | None) -> Compiled:
            def check(program: Program) -> None:
                if example is None:
                    return
                other = [x[..., :-12, :-8].contiguous() for x in example]
                wanted = function(*other)
                with refusals():
                    results = program([x.numpy() for x in other])
                compare_results(results, wanted if isinstance(wanted, tuple) else (wanted,), TOLERANCES[self.precision])

            def convert() -> Any:
                return convert_function(function, modules, example or inputs)

            made = Program(convert, self.settings, key, self.cache, check, self.hot)
            return Compiled((), made)

        with self._part(modules, (label, *(x.ndim for x in inputs)), inputs, make, self.whole_seconds) as part:
            if part is not None:
                with suppress(ConversionError), self.running():
                    results = self._call(part, inputs)
                    tensors = tuple(torch.from_numpy(array.copy()) for array in results)
                    return tensors if len(tensors) > 1 else tensors[0]
            return super().apply(function, modules, *inputs)

    @property
    def strip_engine(self) -> Engine:
        if not self.patient:
            return self
        self.note('strips', 'measured as fast or faster there; the engine openvino compiles them')
        return TORCH

    def refusal(self, x: torch.Tensor) -> str | None:
        if x.device.type != 'cpu':
            return f'OpenVINO runs on a CPU, and its input is on {x.device}'
        if type(x) is not torch.Tensor:
            return f'OpenVINO is given plain tensors, and its input is a {type(x).__name__}'
        if x.dtype != torch.float32:
            return f'OpenVINO is given float32, and its input is {x.dtype}'
        return 'autocast is on' if torch.is_autocast_enabled('cpu') else None

    @contextmanager
    def running(self) -> Iterator[None]:
        with self._lock:
            # threads of PyTorch that wait for work would keep the cores from OpenVINO's
            before = torch.get_num_threads()
            torch.set_num_threads(1)
            self._depth += 1
            try:
                yield
            finally:
                self._depth -= 1
                torch.set_num_threads(before)
                if not self._depth:
                    self._checked.clear()

    def __deepcopy__(self, memo: dict) -> OpenVINOEngine:
        return self

    def __reduce__(self) -> tuple:
        return OpenVINOEngine, (self.precision, self.settings.threads, self.patient)

    def _step(self, step: RowStep, sweep: int, x: torch.Tensor) -> AbstractContextManager[Compiled | None]:
        def make(key: str | None) -> Compiled:
            phase = Phase(step, sweep, x.shape[-1])
            made = Program(
                lambda: phase.convert(step.step_modules),
                self.settings,
                key,
                self.cache,
                lambda program: phase.check(program, TOLERANCES[self.precision]),
                self.hot,
            )
            return Compiled((), made, phase)

        return self._part(step.step_modules, (step.label, sweep, x.shape[-1]), [x], make, self.step_seconds)

    @contextmanager
    def _part(
        self,
        modules: Sequence[nn.Module],
        key: tuple,
        inputs: Sequence[torch.Tensor],
        make: Callable[[str | None], Compiled],
        patience: float,
    ) -> Iterator[Compiled | None]:
        """What is compiled of a part of a model; None where it runs in PyTorch, which is timed.

        Args:
            modules: The modules that it computes with.
            key: What tells it from others of the same modules.
            inputs: What it is given.
            make: Compiles it, given its key in the cache.
            patience: Seconds that it may run in PyTorch before a patient engine compiles it.
        """
        if not modules or any(map(self.refusal, inputs)):
            yield None
            return
        parts, known = self._parts.setdefault(modules[0], {}), (id(modules[0]), *key)
        if known not in self._checked:
            version = in_place_version(modules)
            if key not in parts or parts[key].version != version:
                found = self._compiled(modules, key, make, patience, parts)
                if found is None:
                    start = time.perf_counter()
                    yield None
                    self._waited[known] = self._waited.get(known, 0.0) + time.perf_counter() - start
                    return
                parts[key] = found._replace(version=version)
            if self._depth:
                self._checked.add(known)
        yield parts[key] if parts[key].program else None

    def _compiled(
        self,
        modules: Sequence[nn.Module],
        key: tuple,
        make: Callable[[str | None], Compiled],
        patience: float,
        parts: dict[tuple, Compiled],
    ) -> Compiled | None:
        """A part that is new, or whose weights have changed; None while a patient engine waits."""
        name = ' '.join(map(str, (type(modules[0]).__name__, *key))).replace('  ', ' ')
        kept = self._key(modules, *key)
        waited = self._waited.get((id(modules[0]), *key), 0.0)
        if self.patient and waited < patience and not (kept and self.cache.has(kept)):
            self.note(name, f'it has run for {waited:.1f} s so far, less than it takes to compile')
            return None
        self.reasons.pop(name, None)
        try:
            if hooked := next((type(m).__name__ for o in modules for m in o.modules() if has_hook(m)), None):
                raise ConversionError(f'a {hooked} in it has a hook')
            return make(kept)
        except ConversionError as error:
            self.note(name, str(error))
            return Compiled((), None)

    def _key(self, modules: Sequence[nn.Module], *facts: Any) -> str | None:
        device = core().get_property('CPU', 'FULL_DEVICE_NAME')
        abilities = sorted(core().get_property('CPU', 'OPTIMIZATION_CAPABILITIES'))
        try:
            return step_key(modules, *facts, self.settings, import_openvino().__version__, device, abilities)
        except UnknownPartError as error:
            self.cache.problem = f'a compiled step is not kept: {error}'
            return None

    def _call(self, part: Compiled, inputs: Sequence[torch.Tensor]) -> list[Any]:
        """The results of a part, as arrays.

        Raises:
            ConversionError: OpenVINO fails at these sizes; from now on the part runs in PyTorch.
        """
        try:
            return part.program([x.detach().contiguous().numpy() for x in inputs])
        except RuntimeError as error:
            reason = (
                f'OpenVINO fails at {[tuple(x.shape) for x in inputs]} ({str(error).strip().splitlines()[-1][:120]})'
            )
            for parts in self._parts.values():
                for key, other in parts.items():
                    if other.program is part.program:
                        parts[key] = other._replace(program=None)
                        self.note(str(key[0]) or 'step', reason)
            raise ConversionError(reason) from error

    def _run(self, part: Compiled, step: RowStep, x: torch.Tensor, grid: Grid, state: Any, keep: Grid | None) -> Any:
        phase, piece = part.phase, x.unflatten(1, (grid.rows, grid.width))
        frame = torch.empty(*(side + 1 for side in frame_of(grid, keep, step.stride)), dtype=torch.uint8)
        leaves = [leaf for leaf in tree_flatten(state)[0] if is_input(leaf)]
        positions = [tensor for call in phase.calls for tensor in call.tensors(grid)]
        results = self._call(part, (piece, frame, *leaves, *positions))
        # what is read is copied to a map before the next strip; states stay
        return phase.result(results if phase.reads else [array.copy() for array in results], len(x))
