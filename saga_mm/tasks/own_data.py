"""One's own data, as options name it, in place of the data that a config names."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from saga_mm.errors import SagaError

if TYPE_CHECKING:
    from mmengine.config import Config


# which options are for which tasks
PURPOSES = {
    'detection': ('train_ann', 'val_ann'),
    'segmentation': ('train_mask', 'val_mask', 'classes'),
    'detection and segmentation': ('train_img', 'val_img'),
    'low-light enhancement': ('train_low', 'train_high', 'val_low', 'val_high'),
}


@dataclass
class OwnData:
    """One's own data, as given on a command line.

    Attributes:
        data_root: Folder that the other paths are relative to; without it they are relative to where one is.
        train_ann: For detection: COCO annotations of the training images; they also say which classes there are.
        val_ann: For detection: COCO annotations of the images to evaluate on.
        train_img: Folder of the training images.
        val_img: Folder of the images to evaluate on.
        train_mask: For segmentation: folder of the masks of the training images.
        val_mask: For segmentation: folder of the masks of the images to evaluate on.
        classes: For segmentation: text file with one class name a line, that of id 0 first.
        train_low: For low light: folder of the dark training pictures; without it the bright ones are darkened.
        train_high: For low light: folder of the bright training pictures.
        val_low: For low light: folder of the dark pictures to evaluate on.
        val_high: For low light: folder of the bright pictures to evaluate on.
    """

    data_root: str | None = None
    train_ann: str | None = None
    val_ann: str | None = None
    train_img: str | None = None
    val_img: str | None = None
    train_mask: str | None = None
    val_mask: str | None = None
    classes: str | None = None
    train_low: str | None = None
    train_high: str | None = None
    val_low: str | None = None
    val_high: str | None = None

    def __bool__(self) -> bool:
        return any(vars(self).values())

    def given(self, *names: str) -> str:
        """Those of the named options that are given, or all that are, as one types them: ``--train-ann, --val-ann``."""
        return ', '.join(option(name) for name in names or vars(self) if getattr(self, name))

    def require(self, needed: Mapping[str, str]) -> None:
        """Refuse data of which a part is missing; ``needed`` says what the option of each name is."""
        for name, what in needed.items():
            if not getattr(self, name):
                raise SagaError(f'{self.given()} needs {option(name)} as well: {what}')

    def refuse_others(self, task: str, reason: str) -> None:
        """Refuse options that are for other tasks; ``reason`` says which this one is, and what it takes instead."""
        for purpose, names in PURPOSES.items():
            foreign = self.given(*names)
            if foreign and task not in purpose:
                raise SagaError(f'{foreign}: for {purpose}, and {reason}')

    def path(self, name: str) -> str:
        """The absolute path in an option: inside the root if it is there, else as it stands.

        Shells complete paths from where one is, whatever the root.
        """
        given = Path(getattr(self, name)).expanduser()
        inside = Path(self.data_root or '.').expanduser() / given
        return os.path.abspath(inside if inside.exists() or not given.exists() else given)


def option(name: str) -> str:
    """``'train_ann'`` as it is typed: ``'--train-ann'``."""
    return f'--{name.replace("_", "-")}'


def use_own_data(cfg: Config, own: OwnData, training: bool = True) -> None:
    """Set data sets, classes, numbers of classes and evaluators of a config.

    Args:
        cfg: A config of any task, changed in place.
        own: The data; nothing happens if it is empty.
        training: Whether the config is for a training, which needs both parts of the data.

    Raises:
        SagaError: A part is missing or is for another task, or the config is not one that this works for.
    """
    from saga_mm.tasks.task import task_of

    if own:
        task_of(cfg).use_own_data(cfg, own, training)
        cfg.pop('demo_data', None)


def set_num_classes(model: dict[str, Any], count: int, heads: tuple[str, ...]) -> None:
    """Set the number of classes of every head of these names, those of a cascade too."""
    found = list(_parts(model, heads))
    if not found:
        raise SagaError(f'config: found no {" or ".join(heads)} in model; set its classes in the config')
    for head in found:
        head['num_classes'] = count


def class_counts(node: Any, heads: tuple[str, ...], path: str = 'model') -> list[tuple[str, int]]:
    """Where a model's config says how many classes heads of these names have: ``('model.decode_head', 150)``."""
    if isinstance(node, (list, tuple)):
        return [found for index, part in enumerate(node) for found in class_counts(part, heads, f'{path}.{index}')]
    if not isinstance(node, Mapping):
        return []
    counted = any(f'.{head}' in path for head in heads) and isinstance(node.get('num_classes'), int)
    own = [(path, node['num_classes'])] if counted else []
    return own + [found for key, value in node.items() for found in class_counts(value, heads, f'{path}.{key}')]


def leaf_datasets(dataset: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """The data sets with files of their own inside wrappers such as ``RepeatDataset`` and ``ConcatDataset``."""
    if isinstance(dataset.get('dataset'), Mapping):
        yield from leaf_datasets(dataset['dataset'])
    elif isinstance(dataset.get('datasets'), (list, tuple)):
        for part in dataset['datasets']:
            yield from leaf_datasets(part)
    else:
        yield dataset


def only_dataset(cfg: Config, loader: str) -> dict[str, Any]:
    """The one data set with files of its own in a loader's config.

    Raises:
        SagaError: The loader joins several.
    """
    leaves = list(leaf_datasets(cfg[loader].dataset))
    if len(leaves) != 1:
        raise SagaError(f'config {cfg.filename}: {loader} joins {len(leaves)} data sets; name your data in the config')
    return leaves[0]


def evaluators_of(cfg: Config, part: str) -> list[dict[str, Any]]:
    """The evaluators of ``'val'`` or ``'test'``, one or several."""
    evaluators = cfg[f'{part}_evaluator']
    return list(evaluators) if isinstance(evaluators, (list, tuple)) else [evaluators]


def _parts(node: Mapping[str, Any], names: Iterable[str]) -> Iterator[dict[str, Any]]:
    for key, value in node.items():
        for part in value if isinstance(value, (list, tuple)) else (value,):
            if isinstance(part, Mapping):
                if key in names:
                    yield part
                yield from _parts(part, names)
