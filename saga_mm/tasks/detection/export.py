"""Export of detectors."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from saga_mm.export.stack_graphs import DetectorGraph, stack_facts
from saga_mm.export.subject import ExportSubject, with_facts
from saga_mm.loading.trained import Trained
from saga_mm.tasks.detection.detector import Detector
from saga_mm.tasks.export import Export

if TYPE_CHECKING:
    from mmengine.config import Config

# of a head's config, what says how its outputs become boxes
DECODING = ('type', 'anchor_generator', 'bbox_coder', 'strides', 'regress_ranges', 'prior_generator')


class DetectionExport(Export):
    """The raw outputs of a detector's dense head or region proposal network."""

    def subject(self, cfg: Config, checkpoint: Path) -> ExportSubject:
        detector = Detector(Trained(cfg, checkpoint), device='cpu')
        graph = DetectorGraph(detector.model)
        head = detector.cfg.model.get(graph.head_name) or {}
        decoding = {key: head[key] for key in DECODING if key in head}
        return with_facts(graph, head=json.dumps(decoding, default=_plain), **stack_facts(detector))


def _plain(value: Any) -> Any:
    return dict(value) if isinstance(value, Mapping) else str(value)
