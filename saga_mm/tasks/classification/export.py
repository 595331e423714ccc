"""Export of classifiers."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from saga_mm.export.stack_graphs import ClassifierGraph, stack_facts
from saga_mm.export.subject import ExportSubject, with_facts
from saga_mm.loading.trained import Trained
from saga_mm.tasks.classification.prediction import Classifier
from saga_mm.tasks.export import Export

if TYPE_CHECKING:
    from mmengine.config import Config


class ClassificationExport(Export):
    """The probability of each class."""

    def subject(self, cfg: Config, checkpoint: Path) -> ExportSubject:
        classifier = Classifier(Trained(cfg, checkpoint), device='cpu', engine='torch')
        return with_facts(ClassifierGraph(classifier.model), **stack_facts(classifier, crops=True))
