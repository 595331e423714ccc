"""What is special about detection."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from saga_mm.datasets.checks.coco_config import type_name
from saga_mm.display.console import is_speaker, say
from saga_mm.display.overlay import palette
from saga_mm.errors import SagaError
from saga_mm.tasks.own_data import OwnData, evaluators_of, leaf_datasets, only_dataset, set_num_classes
from saga_mm.tasks.task import Task

if TYPE_CHECKING:
    from mmengine.config import Config

    from saga_mm.tasks.detection.detector import Detector
    from saga_mm.tasks.writer import DetectionWriter

SCORE_THR = 0.3


class Detection(Task):
    """Boxes and masks of objects, with mmdet and data in COCO format."""

    name = 'detection'
    package = 'mmdet'
    heads = ('bbox_head', 'mask_head', 'mask_iou_head')
    # a mask head may be one for all classes
    compared = ('bbox_head',)
    sees_whole = 'a detector sees the whole picture'

    def prepare_stack(self) -> None:
        from saga_mm.datasets.coco_reader import use_coco_file

        use_coco_file()

    def use_own_data(self, cfg: Config, own: OwnData, training: bool) -> None:
        own.refuse_others(
            self.name,
            f'config {cfg.filename} detects objects; name annotation files in COCO format with --train-ann and '
            '--val-ann',
        )
        parts = {'train_ann': 'the training images'} if training else {}
        parts['val_ann'] = 'the images to evaluate on'
        own.require({name: f'the COCO annotation file of {what}' for name, what in parts.items()})

        from saga_mm.datasets.checks.coco import classes_of

        classes = classes_of(own.path('train_ann' if own.train_ann else 'val_ann'))
        if training:
            _point(cfg, 'train_dataloader', own, 'train', classes)
        for part in ('val', 'test'):
            if cfg.get(f'{part}_dataloader') is not None:
                _point(cfg, f'{part}_dataloader', own, 'val', classes)
                for evaluator in evaluators_of(cfg, part):
                    if 'ann_file' in evaluator:
                        evaluator['ann_file'] = own.path('val_ann')
        set_num_classes(cfg.model, len(classes), self.heads)

    def check_files(self, dataset: dict[str, Any], need_annotations: bool) -> None:
        from saga_mm.datasets.checks.coco_config import check_dataset_cfg

        for summary in check_dataset_cfg(dataset, need_annotations=need_annotations, progress=is_speaker()):
            for line in summary.warnings.lines():
                say(f'warning: {summary.ann_file}: {line}')

    def threshold(self, score_thr: float | None) -> float:
        return SCORE_THR if score_thr is None else score_thr

    def set_up_test(self, cfg: Config, out: Path | None) -> None:
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
            if evaluator.get('type') == 'CocoMetric':
                evaluator['outfile_prefix'] = str(out.with_suffix(''))

    def results(self, out: Path) -> list[str]:
        return sorted(path.name for path in out.parent.glob(f'{out.stem}.*.json'))

    def draw(self, visualizer: Any, sample: Any, image: Any, path: Path, score_thr: float | None) -> None:
        from saga_mm.display.drawing import draw_objects

        draw_objects(visualizer, sample, image, path, score_thr, draw_gt=True)

    def predictor(self, *args: Any, memory: None = None, **engine: str) -> Detector:
        from saga_mm.tasks.detection.detector import Detector

        return Detector(*args, **engine)

    def writer(
        self, predictor: Detector, out: Path, root: Path, pictures: list[Path], thr: float, own_size: bool
    ) -> DetectionWriter:
        from saga_mm.tasks.writer import DetectionWriter

        if own_size:
            raise SagaError('--own-size: for segmentation; a detector is made for the size that its config resizes to')
        return DetectionWriter(predictor, out, root, pictures, thr)


def _load_annotations_last(dataset: dict[str, Any]) -> None:
    """Keep the ground truth of a test at the size of its file, in which predictions come: no step may resize it."""
    steps = dataset.get('pipeline') or []
    loaders = [step for step in steps if type_name(step) == 'LoadAnnotations']
    others = [step for step in steps if type_name(step) != 'LoadAnnotations']
    if loaders and others and type_name(others[-1]).startswith('Pack'):
        dataset['pipeline'] = [*others[:-1], *loaders, others[-1]]


def _point(cfg: Config, loader: str, own: OwnData, part: str, classes: Sequence[str]) -> None:
    images = (
        own.path(f'{part}_img')
        if getattr(own, f'{part}_img')
        else os.path.abspath(os.path.expanduser(own.data_root or '.'))
    )
    only_dataset(cfg, loader).update(
        type='CocoDataset',
        data_root='',
        ann_file=own.path(f'{part}_ann'),
        data_prefix=dict(img=os.path.join(images, '')),
        metainfo=dict(classes=tuple(classes), palette=palette(len(classes))),
    )
