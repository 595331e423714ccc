"""Evaluation of detectors."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from saga_mm.datasets.checks.coco_config import type_name
from saga_mm.display.drawing import draw_objects
from saga_mm.errors import ArgumentError
from saga_mm.loading.datasets import leaf_datasets
from saga_mm.parallel import Bands, BandTrainer, detector_losses, detector_parts, unit_in_training
from saga_mm.tasks.evaluation import Evaluation
from saga_mm.tasks.own_data import evaluators_of

if TYPE_CHECKING:
    import torch
    from mmengine.config import Config
    from torch import nn

    from saga_mm.parallel import Mesh

SCORE_THR = 0.3


def checked_score(score: float) -> float:
    """The same, a number that scores can have.

    Raises:
        ArgumentError: It is none.
    """
    if not 0 <= score <= 1:
        raise ArgumentError('score_thr', score, 'must be a number from 0 to 1')
    return score


class DetectionEvaluation(Evaluation):
    """AP, results in COCO format or raw ones, and drawn boxes and masks.

    Args:
        score_thr: Objects below are not drawn.
    """

    def __init__(self, score_thr: float = SCORE_THR) -> None:
        self.score_thr = checked_score(score_thr)

    def losses_in_bands(self, model: nn.Module, mesh: Mesh) -> Callable[[torch.Tensor, Sequence[Any]], dict[str, Any]]:
        unit = unit_in_training(detector_parts, model)

        def losses(images: torch.Tensor, samples: Sequence[Any]) -> dict[str, Any]:
            trainer = BandTrainer(Bands(mesh, images.shape[2], unit))
            return detector_losses(model, images, samples, trainer, [sample.img_shape[:2] for sample in samples])

        return losses

    def set_up(self, cfg: Config, out: Path | None) -> None:
        for leaf in leaf_datasets(cfg.test_dataloader.dataset):
            _load_annotations_last(leaf)
        if out is None:
            return
        evaluators = evaluators_of(cfg, 'test')
        if out.suffix == '.pkl':
            dump = 'DumpDetResults' if cfg.get('default_scope') == 'mmdet' else 'DumpResults'
            cfg.test_evaluator = [*evaluators, {'type': dump, 'out_file_path': str(out)}]
            return
        for evaluator in evaluators:
            if evaluator.get('type') in ('CocoMetric', 'mmdet.CocoMetric'):
                evaluator['outfile_prefix'] = str(out.with_suffix(''))

    def results(self, out: Path) -> list[str]:
        return sorted(path.name for path in out.parent.glob(f'{out.stem}.*.json'))

    def draw(self, visualizer: Any, sample: Any, image: Any, path: Path) -> None:
        draw_objects(visualizer, sample, image, path, self.score_thr, draw_gt=True)


def _load_annotations_last(dataset: dict[str, Any]) -> None:
    """Keep the ground truth of a test at the size of its file, in which predictions come: no step may resize it."""
    steps = dataset.get('pipeline') or []
    loaders = [step for step in steps if type_name(step) == 'LoadAnnotations']
    others = [step for step in steps if type_name(step) != 'LoadAnnotations']
    if loaders and others and type_name(others[-1]).startswith('Pack'):
        dataset['pipeline'] = [*others[:-1], *loaders, others[-1]]
