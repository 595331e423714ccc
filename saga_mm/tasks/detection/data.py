"""Data of detectors, in COCO format."""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from saga_mm.datasets.checks.coco import classes_of
from saga_mm.datasets.checks.coco_config import check_dataset_cfg, coco_paths, type_name
from saga_mm.datasets.checks.coco_survey import survey_coco
from saga_mm.datasets.coco_reader import CocoFile, use_coco_file
from saga_mm.datasets.picture_loader import use_own_pictures
from saga_mm.display.console import say
from saga_mm.display.overlay import palette
from saga_mm.tasks.data import DataReport, TaskData
from saga_mm.tasks.own_data import OwnData, evaluators_of, only_dataset, set_num_classes

if TYPE_CHECKING:
    from mmengine.config import Config


class DetectionData(TaskData):
    """Images with annotation files in COCO format."""

    library = 'mmdet'
    heads = ('bbox_head', 'mask_head', 'mask_iou_head')
    # a mask head may be one for all classes
    compared = ('bbox_head',)

    def prepare(self) -> None:
        use_coco_file()
        use_own_pictures()

    def use_own(self, cfg: Config, own: OwnData, training: bool) -> None:
        parts = {'train_ann': 'the training images'} if training else {}
        parts['val_ann'] = 'the images to evaluate on'
        own.require({name: f'the COCO annotation file of {what}' for name, what in parts.items()})
        # of the training: a file of few images may lack classes, and would number the rest otherwise
        classes = classes_of(own.path('train_ann' if own.get('train_ann') else 'val_ann'))
        if training:
            _point(cfg, 'train_dataloader', own, 'train', classes)
        for part in ('val', 'test'):
            if cfg.get(f'{part}_dataloader') is not None:
                _point(cfg, f'{part}_dataloader', own, 'val', classes)
                for evaluator in evaluators_of(cfg, part):
                    if 'ann_file' in evaluator:
                        evaluator['ann_file'] = own.path('val_ann')
        set_num_classes(cfg.model, len(classes), self.heads)

    def goes_by_names(self, dataset: dict[str, Any]) -> bool:
        return getattr(self.class_of(dataset), 'COCOAPI', None) is CocoFile

    leaves_out_others = goes_by_names

    def check(self, dataset: dict[str, Any], need_annotations: bool) -> set[str]:
        pictures: set[str] = set()
        for summary in check_dataset_cfg(dataset, need_annotations=need_annotations):
            for line in summary.warnings.lines():
                say(f'warning: {summary.ann_file}: {line}')
            pictures.update(map(os.path.abspath, summary.pictures))
        return pictures

    def report(self, dataset: dict[str, Any], split: str) -> DataReport | None:
        if type_name(dataset) != 'CocoDataset':
            return None
        survey = survey_coco(dataset, need_annotations=split != 'test')
        if survey is None:
            return None
        folder = coco_paths(dataset)[1]
        return DataReport.of(survey, [os.path.join(folder, sample.image.name) for sample in survey.samples])


def _point(cfg: Config, loader: str, own: OwnData, part: str, classes: Sequence[str]) -> None:
    images = (
        own.path(f'{part}_img')
        if own.get(f'{part}_img')
        else os.path.abspath(os.path.expanduser(own.get('data_root') or '.'))
    )
    only_dataset(cfg, loader).update(
        type='CocoDataset',
        data_root='',
        ann_file=own.path(f'{part}_ann'),
        data_prefix=dict(img=os.path.join(images, '')),
        metainfo=dict(classes=tuple(classes), palette=palette(len(classes))),
    )
