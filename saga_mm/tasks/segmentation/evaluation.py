"""Evaluation of segmentors."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from saga_mm.display.drawing import draw_maps
from saga_mm.errors import ArgumentError
from saga_mm.loading.datasets import leaf_datasets
from saga_mm.models.openmmlab import segmentor_parts
from saga_mm.models.openmmlab.labels import label_by_rows
from saga_mm.parallel import Bands, BandTrainer, segmentor_losses, unit_in_training
from saga_mm.rows import MemoryBudget
from saga_mm.rows.memory_size import memory_size
from saga_mm.tasks.evaluation import Evaluation
from saga_mm.tasks.own_data import evaluators_of

if TYPE_CHECKING:
    from mmengine.config import Config
    from torch import nn

    from saga_mm.parallel import Mesh


class BySize:
    """A step of mmseg's that evaluates a batch: pictures of several sizes are taken one by one.

    mmseg refuses them; padded, they would get other figures than alone.

    Args:
        step: ``test_step`` or ``val_step`` of the model.
    """

    def __init__(self, step: Callable[[dict[str, Any]], Sequence[Any]]) -> None:
        self.step = step

    def __call__(self, data: dict[str, Any]) -> list[Any]:
        """Data samples of a batch as the loader gives it: lists by name, ``inputs`` of ``(3, H, W)`` among them."""
        sizes = [tuple(picture.shape) for picture in data['inputs']]
        if len(set(sizes)) < 2:
            return list(self.step(data))
        ones = ({key: [values[index]] for key, values in data.items()} for index in range(len(sizes)))
        return [sample for one in ones for sample in self.step(one)]


def image_root(dataset: dict[str, Any]) -> str:
    """The folder that holds the images of a data set, or of all inside it."""
    folders = []
    for leaf in leaf_datasets(dataset):
        prefix = leaf.get('data_prefix') or {}
        folders.append(os.path.abspath(os.path.join(leaf.get('data_root') or '', prefix.get('img_path') or '')))
    return os.path.commonpath(folders)


class SegmentationEvaluation(Evaluation):
    """IoU of each class, class maps, and maps drawn over the images.

    Args:
        max_memory: What the program may take, such as ``'4GB'``; None for half of what is free.
    """

    def __init__(self, max_memory: str | int | None = None) -> None:
        self.max_memory = memory_size(max_memory)

    def prepare_model(self, model: nn.Module) -> None:
        """Have the model label row by row, without scores of all classes at the size of the image."""
        label_by_rows(model, MemoryBudget.of(model, self.max_memory))
        # on the instance: mmengine's loops call these, and other models of the class stay as they are
        for name in ('val_step', 'test_step'):
            setattr(model, name, BySize(getattr(model, name)))

    def losses_in_bands(self, model: nn.Module, mesh: Mesh) -> Callable[[torch.Tensor, Sequence[Any]], dict[str, Any]]:
        unit = unit_in_training(segmentor_parts, model)

        def losses(images: torch.Tensor, samples: Sequence[Any]) -> dict[str, Any]:
            labels = torch.stack([sample.gt_sem_seg.data.squeeze(0) for sample in samples])
            trainer = BandTrainer(Bands(mesh, images.shape[2], unit))
            # sizes of the pictures without their padding, which the state of a map must not see
            return segmentor_losses(model, images, labels, trainer, [sample.img_shape[:2] for sample in samples])

        return losses

    def set_up(self, cfg: Config, out: Path | None) -> None:
        if out is not None and out.suffix != '.json':
            raise ArgumentError('out', out, 'name a .json file for the figures; class maps go into a folder beside it')
        for evaluator in evaluators_of(cfg, 'test'):
            if evaluator.get('type') in ('IoUMetric', 'mmseg.IoUMetric'):
                evaluator['type'] = 'saga_mm.ClassIoUMetric'
                if out is not None:
                    evaluator['output_dir'] = str(out.with_suffix(''))
                    evaluator['image_root'] = image_root(cfg.test_dataloader.dataset)

    def results(self, out: Path) -> list[str]:
        folder = out.with_suffix('')
        return [f'{folder.name}/'] if folder.is_dir() else []

    def draw(self, visualizer: Any, sample: Any, image: Any, path: Path) -> None:
        maps = [sample.get(key) for key in ('gt_sem_seg', 'pred_sem_seg')]
        found = [each.data[0].cpu().numpy() for each in maps if each is not None]
        draw_maps(image, found, visualizer.dataset_meta, path)
