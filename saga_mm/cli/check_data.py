"""A look at the data of a config: what is in it, what is wrong with it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mmengine.config import Config

from saga_mm.cli.prepare import RunOptions, read
from saga_mm.datasets.checks.coco_config import type_name
from saga_mm.datasets.checks.pair_report import plot_pairs
from saga_mm.datasets.checks.report import PER_PAGE, describe, plot_histogram, plot_overlays
from saga_mm.datasets.checks.survey import Survey
from saga_mm.errors import SagaError
from saga_mm.tasks.own_data import leaf_datasets

if TYPE_CHECKING:
    from saga_mm.datasets.checks.low_light import PairSurvey


@dataclass
class CheckOptions(RunOptions):
    """The command line of a check.

    Attributes:
        split: ``train``, ``val`` or ``test``; None for those that a training reads, ``train`` and ``val``.
        out: Folder for the pictures; ``dataset`` in the work folder by default.
        max_pictures: How many pictures with what is marked on them to draw of each split.
    """

    split: str | None = None
    out: str | None = None
    max_pictures: int = PER_PAGE


def check_data(options: CheckOptions) -> bool:
    """Look at the data of a config, print what there is, draw a histogram and pages of pictures.

    Returns:
        Whether nothing is wrong with the data; all that is, of every split, was printed.

    Raises:
        SagaError: The config or the options do not say which data to look at.
    """
    if options.max_pictures < 0:
        raise SagaError(f'--max-pictures {options.max_pictures}: must be at least 0')
    splits = [options.split] if options.split else ['train', 'val']
    cfg = read(options, training='train' in splits)
    if cfg.get('demo_data'):
        from saga_mm.datasets.demo.shapes import ensure_demo_data

        ensure_demo_data(cfg.demo_data.to_dict())
    out = Path(options.out or Path(cfg.work_dir, 'dataset'))
    results = [_report(name, *found, out / name, options.max_pictures) for name, *found in _parts(cfg, splits)]
    if not results:
        raise SagaError(f'config {cfg.filename}: has no {" and no ".join(f"{split}_dataloader" for split in splits)}')
    return all(results)


def _parts(cfg: Config, splits: list[str]) -> Iterator[tuple[str, str, dict[str, Any]]]:
    """Name, split and config of every data set; several in one split are numbered."""
    for split in splits:
        loader = cfg.get(f'{split}_dataloader')
        leaves = list(leaf_datasets(loader.dataset.to_dict())) if loader is not None else []
        for index, leaf in enumerate(leaves, 1):
            yield f'{split}_{index}' if len(leaves) > 1 else split, split, leaf


def _report(name: str, split: str, dataset: Mapping[str, Any], folder: Path, max_pictures: int) -> bool:
    """Look at one data set; returns whether nothing is wrong with it."""
    print(f'\n{name}: ', end='', flush=True)
    try:
        survey = _survey(dataset, split)
    except SagaError as error:
        print(f'{type_name(dataset)}\n\nproblems\n- {error}')
        return False
    if survey is None:
        print(f'{type_name(dataset)}, not looked at: of another kind, or on remote storage')
        return True
    if isinstance(survey, Survey):
        print(describe(survey))
        pictures = plot_overlays(survey, folder / 'overlays.png', max_pictures)
        pictures.insert(0, plot_histogram(survey, folder / 'histogram.png'))
    else:
        print(str(survey).splitlines()[0])
        pictures = [] if survey.problems else plot_pairs(dataset, folder / 'pairs.png', max_pictures)
    print(f'\npictures  {", ".join(map(str, pictures)) or "none"}')
    for title, notes in (('warnings', survey.warnings), ('problems', survey.problems)):
        if notes:
            print(f'\n{title}\n- ' + '\n- '.join(notes.lines()))
    if not survey.problems:
        print('\nno problems')
    return not survey.problems


def _survey(dataset: Mapping[str, Any], split: str) -> Survey | PairSurvey | None:
    if type_name(dataset) == 'CocoDataset':
        from saga_mm.datasets.checks.coco_survey import survey_coco

        return survey_coco(dataset, need_annotations=split != 'test')

    from saga_mm.datasets.checks.low_light import survey_low_light
    from saga_mm.datasets.checks.segmentation import survey_segmentation

    pairs = survey_low_light(dataset)
    return survey_segmentation(dataset) if pairs is None else pairs
