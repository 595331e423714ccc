"""Data of enhancers: dark and bright pictures, or bright ones that are darkened."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

from saga_mm.datasets.checks.low_light import check_low_light_cfg, survey_low_light
from saga_mm.datasets.checks.pair_report import plot_pairs
from saga_mm.datasets.low_light.layouts import find_pairs
from saga_mm.display.console import say
from saga_mm.errors import SagaError
from saga_mm.loading.datasets import leaf_datasets
from saga_mm.tasks.data import DataReport, TaskData
from saga_mm.tasks.own_data import OwnData, only_dataset

if TYPE_CHECKING:
    from mmengine.config import Config

DARKEN = 'SynthesizeLowLight'
# steps of a pipeline that do not look at the dark picture, so that it may be made after them
BEFORE_DARKENING = ('LoadPair', 'PairRandomCrop', 'PairRandomFlip')
# of one's own pictures, one in so many is held out where none are named to evaluate on
HELD_OUT = 10


class EnhancementData(TaskData):
    """Folders of dark and bright pictures, or of bright ones alone, which are darkened."""

    library = 'saga_mm'

    def use_own(self, cfg: Config, own: OwnData, training: bool) -> None:
        bright = {'train_high': 'to train on', 'val_high': 'to evaluate on'}
        for part, high in (('train', 'train_high'), ('val', 'val_high')):
            if own.get(f'{part}_low') or (part == 'train') == training:
                own.require({high: f'the folder of the bright pictures {bright[high]}'})
        if training:
            _point(cfg, 'train_dataloader', own, 'train', own.get('val_high') is None, 'train')
        for loader in ('val_dataloader', 'test_dataloader'):
            if cfg.get(loader) is not None:
                _point(cfg, loader, own, 'val' if own.get('val_high') else 'train', own.get('val_high') is None, 'val')

    def check(self, dataset: dict[str, Any], need_annotations: bool) -> set[str]:
        pictures: set[str] = set()
        for leaf in leaf_datasets(dataset):
            survey = check_low_light_cfg(leaf)
            if survey is None:
                continue
            for line in survey.warnings.lines():
                say(f'warning: {survey.source}: {line}')
            pictures.update(map(os.path.abspath, survey.pictures))
        return pictures

    def report(self, dataset: dict[str, Any], split: str) -> DataReport | None:
        survey = survey_low_light(dataset)
        if survey is None:
            return None

        def draw(folder: Path, most: int) -> list[Path]:
            return [] if survey.problems else plot_pairs(dataset, folder / 'pairs.png', most)

        first, pictures = str(survey).splitlines()[0], list(map(str, survey.pictures))
        return DataReport(first, survey.warnings.lines(), survey.problems.lines(), draw, pictures)


def _point(cfg: Config, loader: str, own: OwnData, part: str, hold_out: bool, split: str) -> None:
    """Set folders, hold-out and darkening of a loader's data set; ``part`` of the options says which folders."""
    low, high = (own.path(f'{part}_{side}') if own.get(f'{part}_{side}') else None for side in ('low', 'high'))
    dataset = only_dataset(cfg, loader)
    kept = {key: dataset[key] for key in ('pipeline', 'test_mode') if key in dataset}
    darken = [step for step in dataset['pipeline'] if _name(step) == DARKEN]
    steps = [step for step in dataset['pipeline'] if _name(step) != DARKEN]
    if low is None:
        place = next(index for index, step in enumerate(steps) if _name(step) not in BEFORE_DARKENING)
        made = darken[0] if darken else {'type': 'saga_mm.SynthesizeLowLight'}
        # the same dark pictures at every evaluation
        steps.insert(place, made if split == 'train' else {**made, 'seed': 0})
    dataset.clear()
    dataset.update(
        **{**kept, 'pipeline': steps},
        type='saga_mm.PairedLowLightDataset',
        data_root=high,
        low=low,
        high='.',
    )
    if hold_out:
        dataset.update(hold_out=_number_held_out(high, low), split=split)


def _number_held_out(high: str, low: str | None) -> int:
    count = len(find_pairs(high, low, '.').pairs)
    if count < 2:
        raise SagaError(f'{high}: holds {count} pictures to train on, of which none can be held out; name --val-high')
    return max(1, count // HELD_OUT)


def _name(step: dict[str, Any]) -> str:
    return str(step['type']).rpartition('.')[2]
