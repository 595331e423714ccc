"""What is special about semantic segmentation."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from saga_mm.display.console import is_speaker, say
from saga_mm.display.overlay import palette
from saga_mm.errors import SagaError
from saga_mm.rows.memory_size import memory_size
from saga_mm.tasks.own_data import OwnData, evaluators_of, leaf_datasets, only_dataset, set_num_classes
from saga_mm.tasks.segmentation.own_masks import find_suffixes, read_classes
from saga_mm.tasks.task import Task

if TYPE_CHECKING:
    from mmengine.config import Config
    from torch import nn

    from saga_mm.rows import MemoryBudget
    from saga_mm.tasks.segmentation.segmenter import Segmenter
    from saga_mm.tasks.writer import SegmentationWriter


class Segmentation(Task):
    """A class for every pixel, with mmseg and folders of images and masks."""

    name = 'segmentation'
    package = 'mmseg'
    heads = ('decode_head', 'auxiliary_head')
    compared = heads

    def use_own_data(self, cfg: Config, own: OwnData, training: bool) -> None:
        own.refuse_others(
            self.name,
            f'config {cfg.filename} segments pictures; name folders of masks with --train-mask and --val-mask, and the '
            'file of class names with --classes',
        )
        parts = {'train': 'training images', 'val': 'images to evaluate on'}
        needed: dict[str, str] = {}
        for part, what in parts.items():
            if part == 'val' or training:
                needed[f'{part}_img'] = f'the folder of the {what}'
                needed[f'{part}_mask'] = f'the folder of the masks of the {what}'
        own.require({**needed, 'classes': 'a text file with one class name a line, that of id 0 first'})

        classes = read_classes(own.path('classes'))
        for loader in ('train_dataloader', 'val_dataloader', 'test_dataloader'):
            part = 'train' if loader.startswith('train') else 'val'
            if cfg.get(loader) is not None and f'{part}_img' in needed:
                _point(cfg, loader, own, part, classes)
        set_num_classes(cfg.model, len(classes), self.heads)

    def check_files(self, dataset: dict[str, Any], need_annotations: bool) -> None:
        from mmseg.datasets import BaseSegDataset

        from saga_mm.datasets.checks.segmentation import check_segmentation_cfg

        for leaf in leaf_datasets(dataset):
            kind = self.class_of(leaf)
            if isinstance(kind, type) and issubclass(kind, BaseSegDataset):
                survey = check_segmentation_cfg(leaf, progress=is_speaker())
                for line in survey.warnings.lines() if survey else ():
                    say(f'warning: {survey.source}: {line}')

    def threshold(self, score_thr: float | None) -> None:
        if score_thr is not None:
            raise SagaError('--score-thr: for detection; segmentation gives each pixel its most likely class')

    def memory(self, max_memory: str | None) -> int | None:
        return memory_size(max_memory)

    def set_up_test(self, cfg: Config, out: Path | None) -> None:
        if out is not None and out.suffix != '.json':
            raise SagaError(f'--out {out}: name a .json file for the figures; class maps go into a folder beside it')
        for evaluator in evaluators_of(cfg, 'test'):
            if evaluator.get('type') in ('IoUMetric', 'mmseg.IoUMetric'):
                evaluator['type'] = 'saga_mm.ClassIoUMetric'
                if out is not None:
                    evaluator['output_dir'] = str(out.with_suffix(''))

    def results(self, out: Path) -> list[str]:
        folder = out.with_suffix('')
        return [f'{folder.name}/'] if folder.is_dir() else []

    def draw(self, visualizer: Any, sample: Any, image: Any, path: Path, score_thr: float | None) -> None:
        from saga_mm.display.drawing import draw_maps

        maps = [sample.get(key) for key in ('gt_sem_seg', 'pred_sem_seg')]
        draw_maps(
            image, [found.data[0].cpu().numpy() for found in maps if found is not None], visualizer.dataset_meta, path
        )

    def lighten(self, model: nn.Module, budget: MemoryBudget | None = None) -> None:
        from saga_mm.models.openmmlab.labels import label_by_rows

        label_by_rows(model, budget)

    def predictor(self, *args: Any, memory: int | None = None, **engine: str) -> Segmenter:
        from saga_mm.tasks.segmentation.segmenter import Segmenter

        return Segmenter(*args, max_memory=memory, **engine)

    def writer(
        self, predictor: Segmenter, out: Path, root: Path, pictures: list[Path], thr: None, own_size: bool
    ) -> SegmentationWriter:
        from saga_mm.tasks.writer import SegmentationWriter

        return SegmentationWriter(predictor, out, root, pictures, own_size)


def _point(cfg: Config, loader: str, own: OwnData, part: str, classes: Sequence[str]) -> None:
    images, masks = own.path(f'{part}_img'), own.path(f'{part}_mask')
    img_suffix, seg_map_suffix = find_suffixes(images, masks)
    only_dataset(cfg, loader).update(
        type='BaseSegDataset',
        data_root='',
        ann_file='',
        data_prefix=dict(img_path=images, seg_map_path=masks),
        img_suffix=img_suffix,
        seg_map_suffix=seg_map_suffix,
        reduce_zero_label=False,
        metainfo=dict(classes=classes, palette=palette(len(classes))),
    )
