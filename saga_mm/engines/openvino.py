"""An engine that compiles row steps with OpenVINO, on CPUs."""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext, suppress
from itertools import chain
from typing import Any

import torch
from torch import nn

from saga_mm.ops import Grid
from saga_mm.rows import Engine, Part, RowStep, Strip

from .cache import StepCache
from .compiled_parts import Compiled, CompiledParts
from .openvino_step import ConversionError, Phase, compare_results, convert_function, refusals
from .program import Program, Settings, Usual
from .running_strips import RunningStrip, Work
from .torch_threads import Threads

# how far what is compiled may be from PyTorch, as a share of the largest value, by precision
TOLERANCES = {'f32': 1e-4, 'bf16': 0.2}
# what a compiled step holds: weights so often, bytes beside them, and a share of what a strip takes by its estimate
COPIES, GRAPHS, SCRATCH = 3.0, 2 * 2**20, 0.5
# what OpenVINO takes itself
LIBRARY = 110 * 2**20


class OpenVINOEngine(Engine):
    """Compiles row steps with OpenVINO when they first run, and keeps them on disk for the next start.

    What it cannot compile runs as PyTorch modules: ``reasons`` says why. A part with hooks is not compiled.

    Args:
        precision: ``'f32'``, or ``'bf16'`` for products in bfloat16. States are float32 all the same.
        threads: Of the CPU; None for as many as PyTorch uses.
        patient: Run a part that is not on disk in PyTorch until that has taken as long as compiling takes.
        cache: Where compiled steps are kept; None for the user's cache folder.

    Attributes:
        step_seconds: How long a step runs in PyTorch before a patient engine compiles it: compiling takes a quarter of
            it, which a compiled step has to save first.
        whole_seconds: The same of a whole model.
        usual_strip: Seconds that strips of one size run before a step is compiled for that size alone.
        usual_image: The same of images and a whole model, after which the time that is saved pays for it.
        large_image: Numbers of an image for whose size a whole model is compiled at once.
        ahead: Strips that are computed while the caller uses the result of another.
        known_seconds: Seconds that strips of one size run before a graph is read that an earlier program compiled for
            this size; images do not wait.
    """

    name = 'openvino'
    # what is between the layers of a step then stays in the cache
    chunk = 8 * 2**20
    # a graph for one size is faster than strips; 2048 x 2048 pixels of PVT fit
    whole_bytes = 1.5 * 2**30
    compiles = True
    step_seconds: float = 2.0
    whole_seconds: float = 2.0
    usual_strip: float = 0.1
    usual_image: float = 2.0
    large_image: float = 2**23
    known_seconds: float = 0.02
    ahead: int = 0

    def __init__(
        self,
        precision: str = 'f32',
        threads: int | None = None,
        patient: bool = False,
        cache: StepCache | None = None,
    ) -> None:
        super().__init__()
        self.precision, self.patient = precision, patient
        self.settings = Settings(precision, threads or torch.get_num_threads())
        self._threads = Threads()
        self.compiled = CompiledParts(self.settings, cache or StepCache(), patient, self._threads, self.reasons)

    def write(self, step: RowStep, x: torch.Tensor, grid: Grid, state: Any = None) -> Any:
        (written,) = self.write_each(step, [(x, grid)], state)
        return written

    def read(self, step: RowStep, x: torch.Tensor, grid: Grid, state: Any, keep: Grid) -> torch.Tensor:
        (answer,) = (tokens.clone() for tokens in self.read_each(step, [Strip(x, grid, keep)], state))
        return answer

    def write_each(
        self, step: RowStep, strips: Iterable[tuple[torch.Tensor, Grid]], state: Any = None
    ) -> Iterator[Any]:
        return self._each(Work(step, 0 if state is None else 1, state), (Strip(*strip, None) for strip in strips))

    def read_each(self, step: RowStep, strips: Iterable[Strip], state: Any) -> Iterator[torch.Tensor]:
        return self._each(Work(step, step.sweeps, state), strips)

    def read_write_each(
        self, step: RowStep, after: RowStep, strips: Iterable[Strip], state: Any
    ) -> Iterator[tuple[torch.Tensor, Any]]:
        work, strips = Work(step, step.sweeps, state, after), iter(strips)
        for first in strips:
            rest = chain([first], strips)
            if self._joins(work, first.x):
                yield from self._each(work, rest)
            else:
                yield from super().read_write_each(step, after, rest, state)

    def _joins(self, work: Work, x: torch.Tensor) -> bool:
        """Whether two steps are compiled as one, or will be."""
        if not (work.step.step_modules and work.after.step_modules):
            return False
        with self._step(work, x):
            found = self.compiled.find(work.modules, work.facts(x))
        return found is None or found.program is not None

    def apply(
        self,
        function: Callable[..., Any],
        modules: Sequence[nn.Module],
        *inputs: torch.Tensor,
        example: Sequence[torch.Tensor] | None = None,
        recurs: bool = False,
    ) -> Any:
        label = getattr(function, '__qualname__', type(function).__name__)
        # a whole model comes with an example
        if example is not None:
            large = 0 if recurs else self.large_image
            patience = self.whole_seconds if inputs[0].numel() < large else 0.0
            usual = Usual(self.usual_image, 0.0, large)
        else:
            patience, usual = self.step_seconds, Usual(self.usual_strip, self.known_seconds)

        def make(key: str | None) -> Compiled:
            def check(program: Program) -> None:
                if example is None:
                    return
                other = [example[0][..., :-12, :-8].contiguous(), *example[1:]]
                wanted = function(*other)
                with refusals():
                    results = program([x.numpy() for x in other])
                compare_results(results, wanted if isinstance(wanted, tuple) else (wanted,), TOLERANCES[self.precision])

            def convert() -> Any:
                return convert_function(function, modules, example or inputs)

            return Compiled((), Program(convert, self.settings, key, self.compiled.cache, check, usual))

        with self._part(modules, (label, *(x.ndim for x in inputs)), inputs, make, patience) as part:
            if part is not None:
                with suppress(ConversionError), self.running():
                    tensors = tuple(map(torch.from_numpy, self._call(part, inputs)))
                    return tensors if len(tensors) > 1 else tensors[0]
            return super().apply(function, modules, *inputs)

    def holds(self, parts: Iterable[Part], batch: int = 1, number: float = 4, chunk: float | None = None) -> float:
        chunk = self.chunk if chunk is None else chunk
        held = 0.0 if self.compiled.programs() else LIBRARY
        for part in parts:
            runs = part.passes(batch, number)
            for step in part.steps:
                # the first sweep is written where the map is made
                passes = [next(runs) for _ in range(step.sweeps + 1)][-max(step.sweeps, 1) :]
                if modules := step.step_modules:
                    # buffers were given back, if there were any
                    held += SCRATCH * sum(
                        min(run.bytes(run.rows(math.inf, chunk)), run.bytes(height)) for run, height in passes
                    )
                    if not self.compiled.programs(modules[0]):
                        weights = [weight.nbytes for module in modules for weight in module.parameters()]
                        held += COPIES * sum(weights) + GRAPHS * len(passes)
        return held

    def step_reason(self, step: RowStep) -> str | None:
        return self.compiled.reason(step.step_modules[0]) if step.step_modules else None

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
        with self._threads.hold() as first:
            try:
                yield
            finally:
                if first:
                    self.compiled.end_run()

    def release(self) -> None:
        for program in self.compiled.programs():
            program.release()

    def __deepcopy__(self, memo: dict) -> OpenVINOEngine:
        return self

    def __reduce__(self) -> tuple:
        return OpenVINOEngine, (self.precision, self.settings.threads, self.patient)

    def _step(self, work: Work, x: torch.Tensor) -> AbstractContextManager[Compiled | None]:
        step, sweep, _, after = work

        def make(key: str | None) -> Compiled:
            phase = Phase(step, sweep, x.shape[-1], after)
            made = Program(
                lambda: phase.convert(work.modules),
                self.settings._replace(lanes=self.lanes),
                key,
                self.compiled.cache,
                lambda program: phase.check(program, TOLERANCES[self.precision]),
                Usual(self.usual_strip, self.known_seconds),
                # what is read is copied to a map before the next strip; states stay
                passing=int(phase.reads),
                lean=True,
            )
            return Compiled((), made, phase)

        # where two steps do not convert as one, each says by itself why
        return self._part(work.modules, work.facts(x), [x], make, self.step_seconds, after is not None)

    def _part(
        self,
        modules: Sequence[nn.Module],
        key: tuple,
        inputs: Sequence[torch.Tensor],
        make: Callable[[str | None], Compiled],
        patience: float,
        quiet: bool = False,
    ) -> AbstractContextManager[Compiled | None]:
        """As :meth:`CompiledParts.enter`, for ``inputs``."""
        if not modules:
            return nullcontext()
        if any(map(self.refusal, inputs)):
            return self._threads.pytorch()
        return self.compiled.enter(modules, key, make, patience, quiet)

    def _each(self, work: Work, strips: Iterable[Strip]) -> Iterator[Any]:
        """Compute strips in order; up to ``ahead`` run while the caller uses the result of another."""
        running: deque[RunningStrip] = deque()
        leaves = work.leaves
        try:
            for strip in strips:
                answer = None
                with self._step(work, strip.x) as part:
                    if part is not None:
                        running.append(RunningStrip(self, part, work, strip, leaves))
                    elif not running:
                        answer = work.plain(strip)
                if part is None and answer is None:
                    # those before it come first
                    while running:
                        yield from self._landed(running)
                    answer = work.plain(strip)
                if answer is not None:
                    yield answer
                elif len(running) > self.ahead:
                    yield from self._landed(running)
            while running:
                yield from self._landed(running)
        finally:
            for left in running:
                left.drop()

    def _landed(self, running: deque[RunningStrip]) -> Iterator[Any]:
        first = running.popleft()
        try:
            yield first.answer()
        finally:
            first.drop()

    def _call(self, part: Compiled, inputs: Sequence[torch.Tensor]) -> list[Any]:
        """Compute a part; the arrays stay valid.

        Raises:
            ConversionError: OpenVINO fails at these sizes; from now on the part runs in PyTorch.
        """
        arrays = [x.detach().contiguous().numpy() for x in inputs]
        try:
            call = part.program.start(arrays)
            try:
                return call.results()
            finally:
                call.drop()
        except (RuntimeError, ConversionError) as error:
            raise ConversionError(self.compiled.fails(part, arrays, error)) from error
