"""Check data for classification, in folders of classes or lists of files."""

from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from saga_mm.datasets.classification.folders import Listing, list_files
from saga_mm.images.headers import reason_of, require_whole, shown_size
from saga_mm.images.pictures import open_picture

from .images import DECODE_UP_TO, check_files_exist, in_threads
from .problems import Problems
from .survey import Sample, Survey, read_shown, scale_to

TRAINING, EVALUATION = ('train', 'training'), ('val', 'valid', 'validation', 'test', 'testing')


def check_classification_cfg(cfg: Mapping[str, Any]) -> Survey:
    """Check the data set of one config of ``ImageFolder``.

    Args:
        cfg: The config, no wrapper such as ``RepeatDataset``.

    Returns:
        What the data set holds; its ``warnings`` are worth printing.

    Raises:
        SagaError: With all that is wrong.
    """
    survey = survey_classification(cfg)
    survey.problems.raise_any()
    return survey


def survey_classification(cfg: Mapping[str, Any]) -> Survey:
    """As :func:`check_classification_cfg`, with what is wrong in ``problems``.

    Of more than 2,000 pictures, heads and tails are read.

    Raises:
        SagaError: The files cannot be listed.
    """
    root, listed = str(Path(cfg['data_root']).expanduser()), cfg.get('ann_file', '')
    metainfo = cfg.get('metainfo') or {}
    found = list_files(root, listed, metainfo.get('classes'))
    source = Path(root, listed) if listed else root
    problems, warnings = Problems(source), Problems(source)
    counts = Counter(label for _, label in found.files)
    for label, name in enumerate(found.classes):
        if not counts[label]:
            warnings.add('class without a picture', 'Add pictures, or remove the class.', name)
    if len(found.classes) < 2:
        problems.add('one class alone', 'Add pictures of another class: at least two are needed.', found.classes[0])
    if not listed:
        _check_parts(found.classes, problems, warnings)
    _compare_with_folders(found, warnings)
    for name, reason in found.left_out:
        warnings.add('left out', 'Move, convert or remove it.', f'{name} {reason}')
    check_files_exist(Path(root), [name for name, _ in found.files], problems)
    twice = [name for name, count in Counter(name for name, _ in found.files).items() if count > 1]
    for name in twice:
        problems.add('picture listed more than once', 'Remove the other lines.', name)
    sizes: list[tuple[int, int]] = []
    if not problems:
        full = len(found.files) <= DECODE_UP_TO
        paths = [str(Path(root, name)) for name, _ in found.files]
        for path, size in zip(paths, in_threads(lambda path: _size(path, full), paths)):
            if isinstance(size, str):
                problems.add('unreadable picture', 'Get the file again, or remove it.', f'{Path(path).name} ({size})')
            else:
                sizes.append(size)
    per_class = {name: counts[label] for label, name in enumerate(found.classes)}

    def load(entry: tuple[str, int], side: int) -> Sample:
        name, label = entry
        image = scale_to(read_shown(str(Path(root, name))), side)
        return Sample(f'{found.classes[label]}: {Path(name).name}', image, np.full(image.shape[:2], -1, np.int16))

    return Survey(
        source=str(source),
        unit='images',
        per_class=per_class,
        images_per_class={},
        sizes=sizes,
        num_images=len(found.files),
        palette=metainfo.get('palette') or (),
        problems=problems,
        warnings=warnings,
        load=load,
        # opening a pipe would wait for a writer
        samples=[entry for entry in found.files if not problems or Path(root, entry[0]).is_file()],
    )


def _check_parts(classes: Sequence[str], problems: Problems, warnings: Problems) -> None:
    """Find folders that are the parts of a data set, each with folders of classes in it."""
    parts = [name for name in classes if name.lower() in TRAINING + EVALUATION]
    if len(classes) > 1 and parts == list(classes):
        problems.add('folders are parts of a data set, and not classes', 'Name one of them, not the folder of all.')
    elif {name.lower() in TRAINING for name in parts} == {True, False}:
        # a class may be called train, and have one called test beside it
        warnings.add(
            'class that looks like a part of a data set', 'Name one part, not the folder of all.', ', '.join(parts)
        )


def _compare_with_folders(found: Listing, warnings: Problems) -> None:
    """Name pictures of a list that lie in the folder of another class."""
    names = set(found.classes)
    for file, label in found.files:
        folder = Path(file).parent.name
        if folder in names and folder != found.classes[label]:
            where = f'{file} is listed as {found.classes[label]}'
            warnings.add('picture in the folder of another class', 'The class in the list is used.', where)


def _size(path: str, full: bool) -> tuple[int, int] | str:
    """Width and height of a picture, or why it cannot be read."""
    try:
        with open_picture(path) as image:
            size = shown_size(image, path)
            require_whole(image, path, full)
            return size
    except Exception as error:
        return reason_of(error, path)
