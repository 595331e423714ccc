"""Check the data sets of a config, and draw them."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mmengine.config import Config

from saga_mm.datasets.checks.coco_config import type_name
from saga_mm.datasets.checks.shared import shared_text
from saga_mm.datasets.checks.survey_report import PER_PAGE
from saga_mm.datasets.demo.shapes import ensure_demo_data
from saga_mm.errors import SagaError
from saga_mm.files import make_folder, user_path
from saga_mm.loading.datasets import leaf_datasets
from saga_mm.runs.prepare import RunOptions, prepare_config
from saga_mm.tasks import task_of
from saga_mm.tasks.data import TaskData


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
    """Check the data of a config, print a summary, draw a histogram and pages of pictures.

    Returns:
        Whether nothing is wrong with the data; all that is, of every split, was printed.

    Raises:
        SagaError: The config or the options do not say which data to look at.
    """
    if options.max_pictures < 0:
        raise SagaError(f'--max-pictures {options.max_pictures}: must be at least 0')
    splits = [options.split] if options.split else ['train', 'val']
    cfg = prepare_config(options, training='train' in splits)
    if cfg.get('demo_data'):
        ensure_demo_data(cfg.demo_data.to_dict())
    out = _folder(options.out, cfg)
    data = task_of(cfg).load_data()
    pictures: dict[str, list[str]] = {}
    results = [
        _report(data, name, *found, out / name, options.max_pictures, pictures) for name, *found in _parts(cfg, splits)
    ]
    if shared := shared_text(pictures.get('train', ()), pictures.get('val', ())):
        print(f'\nwarning: {shared}')
    if not results:
        raise SagaError(f'config {cfg.filename}: has no {" and no ".join(f"{split}_dataloader" for split in splits)}')
    return all(results)


def _folder(out: str | Path | None, cfg: Config) -> Path:
    if out is None:
        return user_path(Path(cfg.work_dir, 'dataset'))
    try:
        return make_folder(Path(out))
    except SagaError as error:
        raise SagaError(f'--out {error}') from error


def _parts(cfg: Config, splits: list[str]) -> Iterator[tuple[str, str, dict[str, Any]]]:
    """Name, split and config of every data set; several in one split are numbered."""
    for split in splits:
        loader = cfg.get(f'{split}_dataloader')
        leaves = list(leaf_datasets(loader.dataset.to_dict())) if loader is not None else []
        for index, leaf in enumerate(leaves, 1):
            yield f'{split}_{index}' if len(leaves) > 1 else split, split, leaf


def _report(
    data: TaskData,
    name: str,
    split: str,
    dataset: dict[str, Any],
    folder: Path,
    most: int,
    pictures: dict[str, list[str]],
) -> bool:
    """Check one data set and add its ``pictures``; returns whether it has no problems."""
    print(f'\n{name}: ', end='', flush=True)
    try:
        report = data.report(dataset, split)
    except SagaError as error:
        print(f'{type_name(dataset)}\n\nproblems\n- {error}')
        return False
    if report is None:
        print(f'{type_name(dataset)}, not looked at: of another kind, or on remote storage')
        return True
    pictures.setdefault(split, []).extend(report.pictures)
    print(report.text)
    print(f'\npictures  {", ".join(map(str, report.draw(folder, most))) or "none"}')
    for title, lines in (('warnings', report.warnings), ('problems', report.problems)):
        if lines:
            print(f'\n{title}\n- ' + '\n- '.join(lines))
    if not report.problems:
        print('\nno problems')
    return not report.problems
