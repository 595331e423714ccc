"""Evaluation of enhancers."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from saga_mm.display.drawing import draw_beside
from saga_mm.errors import ArgumentError, SagaError
from saga_mm.models.enhancement.enhancer_rows import enhancer_parts
from saga_mm.ops import round_up
from saga_mm.parallel import Bands, BandTrainer, enhancer_losses, unit_in_training
from saga_mm.tasks.evaluation import Evaluation
from saga_mm.tasks.own_data import evaluators_of

if TYPE_CHECKING:
    from mmengine.config import Config
    from torch import nn

    from saga_mm.parallel import Mesh


class EnhancementEvaluation(Evaluation):
    """Quality of enhanced pictures, of each in a table beside the figures; input, answer and ground truth drawn."""

    def losses_in_bands(self, model: nn.Module, mesh: Mesh) -> Callable[[torch.Tensor, Sequence[Any]], dict[str, Any]]:
        unit = unit_in_training(enhancer_parts, model)

        def losses(images: torch.Tensor, samples: Sequence[Any]) -> dict[str, Any]:
            if isinstance(images, list):
                raise SagaError('images to train on differ in size: add saga_mm.PairRandomCrop to the pipeline')
            targets = torch.stack([sample.gt_img for sample in samples])
            trainer = BandTrainer(Bands(mesh, round_up(images.shape[2], model.pad_divisor), unit))
            return enhancer_losses(model, images, targets, trainer)

        return losses

    def set_up(self, cfg: Config, out: Path | None) -> None:
        if out is None:
            return
        if out.suffix != '.json':
            raise ArgumentError('out', out, 'name a .json file for the figures; those of each picture go beside it')
        for evaluator in evaluators_of(cfg, 'test'):
            if evaluator.get('type') in ('EnhancementMetric', 'saga_mm.EnhancementMetric'):
                evaluator['out_file'] = str(_figures(out))

    def results(self, out: Path) -> list[str]:
        return [_figures(out).name] if _figures(out).is_file() else []

    def image_of(self, sample: Any, inputs: Any) -> Any:
        # a picture that was darkened on the way to the model is in no file
        return inputs.flip(0).permute(1, 2, 0).numpy()

    def draw(self, visualizer: Any, sample: Any, image: Any, path: Path) -> None:
        pictures = {'input': image}
        for name, key in (('enhanced', 'pred_img'), ('ground truth', 'gt_img')):
            if key in sample:
                values = (sample.get(key).clamp(0, 1) * 255).round().byte()
                pictures[name] = values.permute(1, 2, 0).cpu().numpy()
        draw_beside(pictures, path)


def _figures(out: Path) -> Path:
    """Where the figures of each picture go."""
    return out.with_suffix('.csv')
