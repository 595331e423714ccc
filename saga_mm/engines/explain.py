"""Report where each part of a model runs, and why."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import torch
from torch import nn

from saga_mm.errors import SagaError
from saga_mm.models.backbones.chunks import whole_reason
from saga_mm.rows import MemoryBudget, Part, RowRunner, engine_of

if TYPE_CHECKING:
    from saga_mm.rows import Engine


class PartReport(NamedTuple):
    """How a part of a model runs.

    Attributes:
        part: Its name.
        where: The engine, and whether it computes the whole map or how many chunks of rows.
        mib: Estimated memory of the computation, without the maps between parts.
    """

    part: str
    where: str
    mib: float


class Explanation(NamedTuple):
    """What runs where. ``str()`` makes a table of it.

    Attributes:
        parts: How each part runs, in order.
        reasons: Why something better was not possible, a sentence each.
        memory: What a budget says of the memory, or None.
    """

    parts: list[PartReport]
    reasons: list[str]
    memory: str | None = None

    def __str__(self) -> str:
        width = max((len(row.part) for row in self.parts), default=0)
        place = max((len(row.where) for row in self.parts), default=0)
        lines = [f'{row.part:{width}}  {row.where:{place}}  {row.mib:8.1f} MiB' for row in self.parts]
        return '\n'.join([*lines, *self.reasons, *([self.memory] if self.memory else [])])


def explain(
    model: nn.Module, image: torch.Tensor | Sequence[int] | None = None, budget: MemoryBudget | None = None
) -> Explanation:
    """Say part by part where a model runs in inference, in how many chunks, and how much memory it needs.

    Args:
        model: A backbone or an enhancer of saga_mm, or a segmentor or detector that holds one, in evaluation mode.
        image: A batch ``(B, C, H, W)``, or its ``(H, W)``; None for reasons and memory of the runs so far alone.
        budget: The memory that it was run in, to be explained as well.

    Raises:
        SagaError: The model has no part that runs in rows.
    """
    engine, memory = engine_of(model), None if budget is None else f'memory: {budget.explain()}'
    parts = [] if image is None else _rows(model, engine, image)
    with torch.no_grad():
        whole = whole_reason(model)
    reasons = [f'{type(model).__name__} computes whole maps in PyTorch: {whole}'] if whole else []
    reasons += [f'{part} runs in PyTorch: {reason}' for part, reason in engine.reasons.items()]
    problem = getattr(getattr(engine, 'cache', None), 'problem', None)
    return Explanation(parts, reasons + ([problem] if problem else []), memory)


def _rows(model: nn.Module, engine: Engine, image: torch.Tensor | Sequence[int]) -> list[PartReport]:
    batch, (height, width) = (len(image), image.shape[2:]) if isinstance(image, torch.Tensor) else (1, image)
    named = _parts(model, height, width)
    size = max(part.whole_bytes(batch) for _, part in named)
    name = f'{engine.name} {engine.precision}'
    if engine.name != 'torch' and size <= engine.whole_bytes:
        return [PartReport(label, f'{name}, whole map', part.whole_bytes(batch) / 2**20) for label, part in named]
    name = f'{engine.strip_engine.name} {engine.strip_engine.precision}'
    runner, rows = RowRunner(chunk=engine.chunk), []
    for label, part in named:
        heights = [(min(run.rows(runner.limit, runner.chunk), high), high) for run, high in part.passes(batch)]
        chunks = max(-(-high // low) for low, high in heights)
        where = 'whole map' if chunks == 1 else f'{chunks} chunks'
        rows.append(PartReport(label, f'{name}, {where}', part.strip_bytes(batch, runner.limit, runner.chunk) / 2**20))
    return rows


def _parts(model: Any, height: int, width: int) -> list[tuple[str, Part]]:
    if hasattr(model, 'decode_head'):
        from saga_mm.models.openmmlab import segmentor_parts

        parts = segmentor_parts(model, 1, height, width)
    elif hasattr(model, 'pad_divisor'):
        from saga_mm.models.enhancement.enhancer_rows import enhancer_parts

        parts = enhancer_parts(model, 1, height, width)
    else:
        backbone = model if hasattr(model, 'parts') else getattr(model, 'backbone', None)
        if not hasattr(backbone, 'parts'):
            raise SagaError(f'{type(model).__name__} holds no backbone of saga_mm, whose parts could be listed')
        parts = backbone.parts(height, width)
    return [(f'part {i + 1}: {_name(part)}', part) for i, part in enumerate(parts)]


def _name(part: Part) -> str:
    kinds = dict.fromkeys(_kind(step) for step in part.steps)
    return ', '.join(kinds)


def _kind(step: Any) -> str:
    if hasattr(step, 'attn'):
        return type(step.attn).__name__
    return step.label or (type(step.step_modules[0]).__name__ if step.step_modules else 'sum of maps')
