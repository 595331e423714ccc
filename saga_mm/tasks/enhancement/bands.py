"""Enhance one image with several processes, each of which computes a band of its rows."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np

from saga_mm.models.enhancement import LowLightEnhancer
from saga_mm.models.enhancement.enhancer_rows import enhance_rows, enhancer_parts
from saga_mm.models.enhancement.finish import AS_IT_IS, Finish
from saga_mm.ops import round_up
from saga_mm.parallel import Bands, Mesh, plan_bands, unit_of
from saga_mm.tasks.enhancement.strips import RgbRows, read_source, rows_at_once
from saga_mm.tasks.strip_parts import parts_in_strips


def enhance_bands(
    model: LowLightEnhancer,
    image: RgbRows,
    mesh: Mesh,
    finish: Finish = AS_IT_IS,
    max_memory: int | None = None,
    folder: str | Path | None = None,
    shares: Sequence[float] | None = None,
) -> Iterator[tuple[int, np.ndarray]]:
    """Enhance an image at its own size, as in one piece; all processes of a mesh call this together.

    Args:
        model: The model, in evaluation mode, the same on all processes.
        image: The whole image, of which each process reads the rows that it needs, several times.
        mesh: The processes.
        finish: Strength, brightness and denoising.
        max_memory: Bytes that this process may take; None for its part of half of what is free.
        folder: As of :func:`~saga_mm.tasks.enhancement.strips.enhance_strips`.
        shares: How much of the image each process does, relative to the others; None for the same.

    Yields:
        The next row of this process's band, counted in the image, and rows ``(rows, W, 3)`` float32 from there on.

    Raises:
        SagaError: As of ``enhance_strips``; the image has too few rows for so many processes; a process is lost.
    """
    height, width = image.height, image.width
    source = read_source(image, next(model.parameters()).device)
    parts = parts_in_strips(enhancer_parts, model, height, width)
    unit = unit_of(lambda *probe: enhancer_parts(model, 1, *probe))
    # maps are those of the padded image
    bands = Bands(mesh, round_up(height, model.pad_divisor), unit, shares)
    rows, held = rows_at_once(width)
    runner = plan_bands(model, bands, parts, source, max_memory, held + getattr(image, 'held_bytes', 0), folder)
    answer = enhance_rows(model, source, runner, finish)
    runner.prepare(answer)
    first, last = bands.own(height)
    for start in range(first, last, rows):
        plane = answer.plane(start, min(start + rows, last))[0]
        yield start, plane.permute(1, 2, 0).contiguous().cpu().numpy()
