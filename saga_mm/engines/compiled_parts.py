"""What is compiled of the parts of a model, and why other parts run in PyTorch."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, NamedTuple
from weakref import WeakKeyDictionary

from torch import nn

from saga_mm.models.watched import has_hook

from .cache import StepCache
from .fingerprint import UnknownPartError, in_place_version, step_key
from .library import core, import_openvino
from .openvino_step import ConversionError, Phase
from .program import Program, Settings
from .torch_threads import Threads


class Compiled(NamedTuple):
    """What is kept of a part of a model.

    Attributes:
        version: Of weights and modules, in memory.
        program: None where the part runs as PyTorch modules.
        phase: How its arguments and results are laid out; None for a plain function.
    """

    version: tuple
    program: Program | None
    phase: Phase | None = None


class CompiledParts:
    """The parts of models that an engine has compiled or has found that it cannot compile.

    Args:
        settings: How they are compiled.
        cache: Where they are kept for the next start.
        patient: Run a part that is not on disk in PyTorch until that has taken as long as compiling takes.
        threads: Those of PyTorch.
        reasons: Gets the reasons why parts run in PyTorch, by their names.
    """

    def __init__(
        self, settings: Settings, cache: StepCache, patient: bool, threads: Threads, reasons: dict[str, str]
    ) -> None:
        self.settings, self.cache, self.patient = settings, cache, patient
        self._threads, self._reasons = threads, reasons
        self._parts: WeakKeyDictionary[nn.Module, dict[tuple, Compiled]] = WeakKeyDictionary()
        # why modules run in PyTorch, by the first module of a step
        self._refused: WeakKeyDictionary[nn.Module, str] = WeakKeyDictionary()
        # seconds for which parts have run in PyTorch that wait to be compiled
        self._waited: dict[tuple, float] = {}
        # parts whose weights were compared in this run
        self._checked: set[tuple] = set()

    def find(self, modules: Sequence[nn.Module], key: tuple) -> Compiled | None:
        """The record of a part; None if there is none."""
        return self._parts.get(modules[0], {}).get(key)

    def programs(self, module: nn.Module | None = None) -> list[Program]:
        """What was compiled: all of it, or what begins with a module."""
        groups = self._parts.values() if module is None else [self._parts.get(module, {})]
        return [part.program for parts in groups for part in parts.values() if part.program]

    def reason(self, module: nn.Module) -> str | None:
        """Why what begins with a module runs in PyTorch; None if it does not."""
        return self._refused.get(module)

    def end_run(self) -> None:
        """End a run: weights may change before the next."""
        self._checked.clear()

    @contextmanager
    def enter(
        self,
        modules: Sequence[nn.Module],
        key: tuple,
        make: Callable[[str | None], Compiled],
        patience: float,
        quiet: bool = False,
    ) -> Iterator[Compiled | None]:
        """A context with the compiled part, or with None for a part that runs in PyTorch, whose time is counted.

        Args:
            modules: The modules that it computes with.
            key: Distinguishes it from other parts of the same modules.
            make: Compiles it, given its key in the cache.
            patience: Seconds that it may run in PyTorch before a patient engine compiles it.
            quiet: Do not record why it does not convert.
        """
        parts, known = self._parts.setdefault(modules[0], {}), (id(modules[0]), *key)
        if known not in self._checked:
            version = in_place_version(modules)
            if key not in parts or parts[key].version != version:
                found = self._compiled(modules, key, make, patience, quiet)
                if found is None:
                    start = time.perf_counter()
                    with self._threads.pytorch():
                        yield None
                    self._waited[known] = self._waited.get(known, 0.0) + time.perf_counter() - start
                    return
                parts[key] = found._replace(version=version)
            if self._threads.held:
                self._checked.add(known)
        if parts[key].program:
            yield parts[key]
        else:
            with self._threads.pytorch():
                yield None

    def fails(self, part: Compiled, inputs: Sequence[Any], error: Exception) -> str:
        """Make a part run in PyTorch from now on, and return the reason."""
        text = str(error).strip().splitlines()[-1][:120]
        shapes = [array.shape for array in inputs]
        reason = text if isinstance(error, ConversionError) else f'OpenVINO fails at {shapes} ({text})'
        for module, parts in self._parts.items():
            for key, other in parts.items():
                if other.program is part.program:
                    parts[key] = other._replace(program=None)
                    self._refuse([module], str(key[0]) or 'step', reason)
        return reason

    def _compiled(
        self,
        modules: Sequence[nn.Module],
        key: tuple,
        make: Callable[[str | None], Compiled],
        patience: float,
        quiet: bool,
    ) -> Compiled | None:
        """Compile a part that is new or whose weights have changed; None while a patient engine waits."""
        name = ' '.join(map(str, (type(modules[0]).__name__, *key))).replace('  ', ' ')
        kept = self._key(modules, *key)
        waited = self._waited.get((id(modules[0]), *key), 0.0)
        if self.patient and waited < patience and not (kept and self.cache.has(kept)):
            self._refuse(modules, name, f'it has run for {waited:.1f} s so far, less than it takes to compile')
            return None
        self._reasons.pop(name, None)
        self._refused.pop(modules[0], None)
        try:
            if hooked := next((type(m).__name__ for o in modules for m in o.modules() if has_hook(m)), None):
                raise ConversionError(f'a {hooked} in it has a hook')
            return make(kept)
        except ConversionError as error:
            if not quiet:
                self._refuse(modules, name, str(error))
            return Compiled((), None)

    def _refuse(self, modules: Sequence[nn.Module], name: str, reason: str) -> None:
        self._reasons[name] = reason
        self._refused[modules[0]] = f'{type(modules[0]).__name__} runs in PyTorch: {reason}'

    def _key(self, modules: Sequence[nn.Module], *facts: Any) -> str | None:
        device = core().get_property('CPU', 'FULL_DEVICE_NAME')
        abilities = sorted(core().get_property('CPU', 'OPTIMIZATION_CAPABILITIES'))
        try:
            return step_key(modules, *facts, self.settings, import_openvino().__version__, device, abilities)
        except UnknownPartError as error:
            self.cache.problem = f'a compiled step is not kept: {error}'
            return None
