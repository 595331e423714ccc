"""Export of segmentors."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from saga_mm.errors import ArgumentError, SagaError
from saga_mm.export.stack_graphs import SegmentorGraph, stack_facts
from saga_mm.export.subject import ExportSubject, with_facts
from saga_mm.loading.trained import Trained
from saga_mm.onnx.file import LABELS, SCORES
from saga_mm.tasks.export import Export
from saga_mm.tasks.segmentation.segmenter import Segmenter

if TYPE_CHECKING:
    from mmengine.config import Config


class SegmentationExport(Export):
    """Labels at the size of the image, or class scores at the resolution of the head.

    Args:
        result: ``'labels'`` or ``'scores'``.
    """

    def __init__(self, result: str = LABELS) -> None:
        if result not in (LABELS, SCORES):
            raise ArgumentError('result', result, f'choose {LABELS} or {SCORES}')
        self.result = result

    def subject(self, cfg: Config, checkpoint: Path) -> ExportSubject:
        segmenter = Segmenter(Trained(cfg, checkpoint), device='cpu')
        graph = SegmentorGraph(segmenter.model, self.result)
        if graph.classes not in (1, len(segmenter.classes)):
            raise SagaError(
                f'config {cfg.filename}: names {len(segmenter.classes)} classes; its head has {graph.classes} channels'
            )
        more = {'align_corners': graph.align_corners, 'threshold': graph.threshold}
        return with_facts(graph, **stack_facts(segmenter), **more)
