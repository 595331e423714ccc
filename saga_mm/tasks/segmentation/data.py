"""Data of segmentors: images and masks."""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from mmseg.datasets import BaseSegDataset

from saga_mm.datasets.checks.segmentation import check_segmentation_cfg, survey_segmentation
from saga_mm.datasets.picture_loader import use_own_pictures
from saga_mm.display.console import say
from saga_mm.display.overlay import palette
from saga_mm.loading.datasets import leaf_datasets
from saga_mm.tasks.data import DataReport, TaskData
from saga_mm.tasks.own_data import OwnData, only_dataset, set_num_classes
from saga_mm.tasks.segmentation.own_masks import find_suffixes, read_classes

if TYPE_CHECKING:
    from mmengine.config import Config


class SegmentationData(TaskData):
    """Folders of images and masks."""

    library = 'mmseg'
    heads = ('decode_head', 'auxiliary_head')
    compared = heads

    def prepare(self) -> None:
        use_own_pictures()

    def use_own(self, cfg: Config, own: OwnData, training: bool) -> None:
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

    def check(self, dataset: dict[str, Any], need_annotations: bool) -> set[str]:
        pictures: set[str] = set()
        for leaf in leaf_datasets(dataset):
            kind = self.class_of(leaf)
            if isinstance(kind, type) and issubclass(kind, BaseSegDataset):
                survey = check_segmentation_cfg(leaf)
                if survey is None:
                    continue
                for line in survey.warnings.lines():
                    say(f'warning: {survey.source}: {line}')
                pictures.update(os.path.abspath(pair.image) for pair in survey.samples)
        return pictures

    def report(self, dataset: dict[str, Any], split: str) -> DataReport | None:
        survey = survey_segmentation(dataset)
        return survey and DataReport.of(survey, [str(pair.image) for pair in survey.samples])


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
        # ids are classes here; ADE20K's configs, from which a user may start, take 0 for "not learned"
        reduce_zero_label=False,
        metainfo=dict(classes=classes, palette=palette(len(classes))),
    )
