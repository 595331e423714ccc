"""Evaluation of classifiers."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from saga_mm.display.drawing import draw_beside
from saga_mm.errors import ArgumentError
from saga_mm.tasks.evaluation import Evaluation
from saga_mm.tasks.own_data import evaluators_of

if TYPE_CHECKING:
    from mmengine.config import Config


class ClassificationEvaluation(Evaluation):
    """Top-1 and top-5 accuracy, what was found in each picture in a table, pictures with their classes."""

    def set_up(self, cfg: Config, out: Path | None) -> None:
        if out is None:
            return
        if out.suffix != '.json':
            raise ArgumentError('out', out, 'name a .json file for the figures; the classes of pictures go beside it')
        for evaluator in evaluators_of(cfg, 'test'):
            if evaluator.get('type') in ('Accuracy', 'saga_mm.Accuracy'):
                evaluator['out_file'] = str(out.with_suffix('.csv'))

    def results(self, out: Path) -> list[str]:
        table = out.with_suffix('.csv')
        return [table.name] if table.is_file() else []

    def draw(self, visualizer: Any, sample: Any, image: Any, path: Path) -> None:
        classes = visualizer.dataset_meta['classes']
        pictures = {}
        if 'gt_label' in sample:
            pictures[classes[int(sample.gt_label)]] = image
        label = int(sample.pred_label)
        found = found_text(classes[label], float(sample.pred_score[label]))
        draw_beside({**pictures, found: image}, path)


def found_text(name: str, score: float) -> str:
    """A class and its probability: ``'found: church 0.93'``."""
    return f'found: {name} {score:.2f}'
