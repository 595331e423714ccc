"""Report where each part of a model runs, and why."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import torch
from torch import nn

from saga_mm.errors import SagaError
from saga_mm.models.backbones.chunks import whole_reason
from saga_mm.models.enhancement.enhancer_rows import enhancer_parts
from saga_mm.models.openmmlab import segmentor_parts
from saga_mm.ops import plain_reason
from saga_mm.rows import TORCH, MemoryBudget, Part, RowRunner, engine_of

if TYPE_CHECKING:
    from saga_mm.rows import Engine


class PartReport(NamedTuple):
    """How a part of a model runs.

    Attributes:
        part: Its name.
        engine: The engine and its precision.
        how: ``'whole map'``, or how many chunks or strips of how many rows of its output.
        mib: Estimated memory of the computation, without the maps between parts.
        reason: Why it does not run in one piece, or not on the engine that was asked for; empty if it does.
    """

    part: str
    engine: str
    how: str
    mib: float
    reason: str = ''


class Explanation(NamedTuple):
    """What runs where. ``str()`` makes a table of it.

    Attributes:
        parts: How each part runs, in order.
        reasons: Why something better was not possible for the model, a sentence each.
        memory: What a budget says of the memory, or None.
    """

    parts: list[PartReport]
    reasons: list[str]
    memory: str | None = None

    def __str__(self) -> str:
        cells = [(row.part, row.engine, row.how, f'{row.mib:.1f} MiB', row.reason) for row in self.parts]
        cells = [('part', 'engine', 'how', 'memory', 'reason'), *cells] if cells else []
        widths = [max(map(len, column)) for column in zip(*cells)]
        lines = ['  '.join(cell.ljust(width) for cell, width in zip(row, widths)).rstrip() for row in cells]
        return '\n'.join([*lines, *self.reasons, *([self.memory] if self.memory else [])])


class _Run(NamedTuple):
    """The parts of a model, a batch, and how they run."""

    parts: Sequence[Part]
    batch: int
    engine: Engine
    runner: RowRunner | None
    name: str
    reason: str


def explain(
    model: nn.Module, image: torch.Tensor | Sequence[int] | None = None, budget: MemoryBudget | None = None
) -> Explanation:
    """Say part by part where a model runs in inference, in how many chunks or strips, in how much memory, and why.

    Args:
        model: A backbone or an enhancer of saga_mm, or a segmentor or detector that holds one, in evaluation mode.
        image: A batch ``(B, C, H, W)``, or its ``(H, W)``; None for the image that was run last, as far as it is known.
        budget: The memory that it was run in, to be explained as well.

    Raises:
        SagaError: The model has no part that runs in rows.
    """
    engine, memory = engine_of(model), None if budget is None else f'memory: {budget.explain()}'
    with torch.no_grad():
        whole = whole_reason(model)
        run = _planned(budget, engine) if image is None and budget is not None else None
        if run is None and (shape := _shape(image, engine)) is not None:
            run = _usual(model, engine, shape, whole)
    parts = [] if run is None else [_report(part, index, run) for index, part in enumerate(run.parts)]
    reasons = [f'{type(model).__name__} computes whole maps in PyTorch: {whole}'] if whole else []
    reasons += [f'{part} runs in PyTorch: {reason}' for part, reason in engine.reasons.items()]
    if (weight := next(model.parameters(), None)) is not None and weight.device.type == 'cuda':
        kernels = plain_reason(weight)
        reasons.append(f'no Triton kernel runs: {kernels}' if kernels else 'linear attention runs on Triton kernels')
    problem = getattr(getattr(engine, 'cache', None), 'problem', None)
    return Explanation(parts, reasons + ([problem] if problem else []), memory)


def _shape(image: torch.Tensor | Sequence[int] | None, engine: Engine) -> tuple[int, int, int] | None:
    """Batch, height and width."""
    if image is None:
        return engine.shape and (engine.shape[0], *engine.shape[2:])
    return (len(image), *image.shape[2:]) if isinstance(image, torch.Tensor) else (1, *image)


def _planned(budget: MemoryBudget, engine: Engine) -> _Run | None:
    """What a budget planned last."""
    if not budget.parts:
        return None
    if budget.runner is None:
        return _Run(budget.parts, budget.batch, engine, None, 'whole map', '')
    size = max(part.whole_bytes(budget.batch, budget.number) for part in budget.parts)
    reason = f'in one piece a part would take {size / 2**20:.0f} MiB'
    return _Run(budget.parts, budget.batch, budget.runner.engine, budget.runner, 'strips', reason)


def _usual(model: nn.Module, engine: Engine, shape: tuple[int, int, int], whole: str | None) -> _Run:
    """What a call of the model does with a batch."""
    parts, (batch, *_) = _parts(model, *shape[1:]), shape
    if whole:
        return _Run(parts, batch, TORCH, None, 'whole map', whole)
    if engine.name != 'torch':
        size = max(part.whole_bytes(batch) for part in parts)
        if size <= engine.whole_bytes:
            return _Run(parts, batch, engine, None, 'whole map', '')
        reason = f'in one piece a part would take {size / 2**20:.0f} MiB, more than {engine.whole_bytes / 2**20:.0f}'
        engine = engine.strip_engine
        return _Run(parts, batch, engine, RowRunner(chunk=engine.chunk, engine=engine), 'strips', reason)
    return _Run(
        parts, batch, engine, RowRunner(chunk=engine.chunk, engine=engine), 'chunks', 'its rows are computed bit by bit'
    )


def _report(part: Part, index: int, run: _Run) -> PartReport:
    engine, runner = run.engine, run.runner
    how, mib, reason = 'whole map', part.whole_bytes(run.batch) / 2**20, ''
    if runner is None:
        reason = run.reason
    else:
        cuts = [(one, high, *runner.strip_rows(one, high)) for one, high in part.passes(run.batch)]
        mib = max(min(lanes * one.bytes(rows), one.bytes(high)) for one, high, rows, lanes in cuts) / 2**20
        _, high, low, _ = max(cuts, key=lambda cut: cut[1] / cut[2])
        if low < high:
            how, reason = f'{-(-high // low)} {run.name} of {low} rows', run.reason
    refused = [why for step in part.steps if (why := engine.step_reason(step))]
    if refused:
        reason = '; '.join(dict.fromkeys([*([reason] if reason else []), *refused]))
    return PartReport(f'{index + 1}: {_name(part)}', f'{engine.name} {engine.precision}', how, mib, reason)


def _parts(model: Any, height: int, width: int) -> list[Part]:
    if hasattr(model, 'decode_head'):
        return segmentor_parts(model, 1, height, width)
    if hasattr(model, 'pad_divisor'):
        return enhancer_parts(model, 1, height, width)
    backbone = model if hasattr(model, 'parts') else getattr(model, 'backbone', None)
    if not hasattr(backbone, 'parts'):
        raise SagaError(f'{type(model).__name__} holds no backbone of saga_mm, whose parts could be listed')
    return backbone.parts(height, width)


def _name(part: Part) -> str:
    return ', '.join(dict.fromkeys(_kind(step) for step in part.steps))


def _kind(step: Any) -> str:
    if hasattr(step, 'attn'):
        return type(step.attn).__name__
    return step.label or (type(step.step_modules[0]).__name__ if step.step_modules else 'sum of maps')
