"""Segment one image with several processes, each of which computes a band of its rows."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import torch

from saga_mm.models.openmmlab import ResizedRows, label_rows, segment_rows, segmentor_parts
from saga_mm.parallel import Bands, Mesh, plan_bands, unit_of
from saga_mm.tasks.segmentation.strips import BgrRows, label_type, prepare_rows
from saga_mm.tasks.strip_parts import parts_in_strips


def segment_bands(
    model: torch.nn.Module,
    image: BgrRows | np.ndarray,
    mesh: Mesh,
    max_memory: int | None = None,
    folder: str | Path | None = None,
    shares: Sequence[float] | None = None,
) -> Iterator[tuple[int, np.ndarray]]:
    """Segment an image at its own size, exactly as in one piece; all processes of a mesh call this together.

    Args:
        model: As of :func:`~saga_mm.tasks.segmentation.strips.segment_strips`, the same on all processes.
        image: The whole image, of which each process reads the rows that it needs.
        mesh: The processes.
        max_memory: Bytes that this process may take; None for its part of half of what is free.
        folder: As of ``segment_strips``.
        shares: How much of the image each process does, relative to the others; None for the same.

    Yields:
        The next row of this process's band, counted in the image, and labels ``(rows, W)`` from there on.

    Raises:
        SagaError: As of ``segment_strips``; the image has too few rows for so many processes; a process is lost.
    """
    rows = prepare_rows(image, model)
    size = rows.height, rows.width
    parts = parts_in_strips(segmentor_parts, model, *size)
    bands = Bands(mesh, rows.height, unit_of(lambda *probe: segmentor_parts(model, 1, *probe)), shares)
    runner = plan_bands(model, bands, parts, rows, max_memory, getattr(image, 'held_bytes', 0), folder)
    with torch.no_grad():
        scores = segment_rows(model, rows, runner)
        # all together, before any labels: rows of the neighbours' scores that enlarging blends at the edges of a band
        runner.prepare(ResizedRows(scores, size, align_corners=model.decode_head.align_corners))
    start, stop = bands.own(rows.height)
    for labels in label_rows(model.decode_head, scores, size, (start, stop)):
        yield start, labels[0].cpu().numpy().astype(label_type(model))
        start += labels.shape[1]
