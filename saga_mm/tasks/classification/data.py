"""Data of classifiers: folders of classes, or lists of files."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

from saga_mm.datasets.checks.classification import check_classification_cfg, survey_classification
from saga_mm.datasets.classification.folders import ImageFolder, list_files
from saga_mm.datasets.picture_loader import use_own_pictures
from saga_mm.display.console import say
from saga_mm.display.overlay import palette
from saga_mm.errors import SagaError
from saga_mm.loading.datasets import leaf_datasets
from saga_mm.tasks.data import DataReport, TaskData
from saga_mm.tasks.own_data import OwnData, only_dataset, set_num_classes
from saga_mm.tasks.segmentation.own_masks import read_classes

if TYPE_CHECKING:
    from mmengine.config import Config


MOST_CLASSES = 100_000


class ClassificationData(TaskData):
    """Folders of classes, or lists of files."""

    library = 'saga_mm'
    heads = ('head',)
    compared = heads

    def prepare(self) -> None:
        use_own_pictures()

    def use_own(self, cfg: Config, own: OwnData, training: bool) -> None:
        parts = {'train': 'training images', 'val': 'images to evaluate on'}
        if not training:
            parts.pop('train')
        own.require({f'{part}_img': f'the folder of the {what}' for part, what in parts.items()})
        if own.get('classes'):
            classes = read_classes(own.path('classes'), MOST_CLASSES)
        else:
            root, listed = _place(own, 'train' if training else 'val')
            classes = list_files(root, listed).classes
            # a classifier may be tested on pictures of one of its classes
            if training and len(classes) < 2:
                raise SagaError(f'{listed or root}: has the class {classes[0]!r} alone, and at least two are needed.')
        for loader in ('train_dataloader', 'val_dataloader', 'test_dataloader'):
            part = 'train' if loader.startswith('train') else 'val'
            if cfg.get(loader) is not None and part in parts:
                root, listed = _place(own, part)
                only_dataset(cfg, loader).update(
                    type='saga_mm.ImageFolder',
                    data_root=root,
                    ann_file=listed,
                    metainfo=dict(classes=classes, palette=palette(len(classes))),
                )
        set_num_classes(cfg.model, len(classes), self.heads)

    def check(self, dataset: dict[str, Any], need_annotations: bool) -> set[str]:
        pictures: set[str] = set()
        for leaf in leaf_datasets(dataset):
            if self._looks_at(leaf):
                survey = check_classification_cfg(leaf)
                for line in survey.warnings.lines():
                    say(f'warning: {survey.source}: {line}')
                root = os.path.abspath(os.path.expanduser(leaf['data_root']))
                pictures.update(os.path.join(root, name) for name, _ in survey.samples)
        return pictures

    def report(self, dataset: dict[str, Any], split: str) -> DataReport | None:
        if not self._looks_at(dataset):
            return None
        survey, root = survey_classification(dataset), os.path.expanduser(dataset['data_root'])
        return DataReport.of(survey, [os.path.join(root, name) for name, _ in survey.samples])

    def metainfo_of(self, dataset: dict[str, Any]) -> dict[str, Any]:
        """As of the base class; classes that the config does not name are those of the folders or the list."""
        found = super().metainfo_of(dataset)
        if not found.get('classes') and self._looks_at(dataset):
            try:
                found['classes'] = list_files(dataset['data_root'], dataset.get('ann_file', '')).classes
            except SagaError:
                # predictions need no pictures of the config's
                return found
        return found

    def goes_by_names(self, dataset: dict[str, Any]) -> bool:
        return self._looks_at(dataset)

    def _looks_at(self, dataset: dict[str, Any]) -> bool:
        kind = self.class_of(dataset)
        return isinstance(kind, type) and issubclass(kind, ImageFolder)


def _place(own: OwnData, part: str) -> tuple[str, str]:
    """Folder and list of a part of one's own data."""
    return own.path(f'{part}_img'), own.path(f'{part}_list') if own.get(f'{part}_list') else ''
