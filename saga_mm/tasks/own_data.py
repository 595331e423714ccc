"""A user's own data, named by options, in place of the data of a config."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from saga_mm.errors import SagaError
from saga_mm.loading.datasets import leaf_datasets
from saga_mm.tasks import options_of, task_of
from saga_mm.tasks.task import Task, listed, option_text

if TYPE_CHECKING:
    from mmengine.config import Config


class OwnData:
    """A user's own data, as a command line names it.

    Args:
        data_root: Folder that the other paths are relative to; without it they are relative to where one is.
        **paths: Files and folders, by the names that tasks have for them.
    """

    def __init__(self, data_root: str | None = None, **paths: str | None) -> None:
        given = {'data_root': data_root, **paths}
        self.paths: dict[str, str] = {name: path for name, path in given.items() if path}

    def __bool__(self) -> bool:
        return bool(self.paths)

    def get(self, name: str) -> str | None:
        """A path as it was given; None if it was not."""
        return self.paths.get(name)

    def given(self, names: Iterable[str]) -> str:
        """Those of the named options that are given, as one types them: ``--train-ann, --val-ann``."""
        return ', '.join(option_text(name) for name in names if name in self.paths)

    def require(self, needed: Mapping[str, str]) -> None:
        """Refuse data of which a part is missing; ``needed`` says what the option of each name is."""
        for name, what in needed.items():
            if name not in self.paths:
                raise SagaError(f'{self.given(self.paths)} needs {option_text(name)} as well: {what}')

    def path(self, name: str) -> str:
        """The absolute path in an option: inside the root if it is there, else as it stands.

        Shells complete paths from where one is, whatever the root.
        """
        given = Path(self.paths[name]).expanduser()
        inside = Path(self.paths.get('data_root', '.')).expanduser() / given
        return os.path.abspath(inside if inside.exists() or not given.exists() else given)


def use_own_data(cfg: Config, own: OwnData, training: bool = True) -> None:
    """Set data sets, classes, numbers of classes and evaluators of a config.

    Args:
        cfg: A config of any task, changed in place.
        own: The data; nothing happens if it is empty.
        training: Whether the config is for a training, which needs both parts of the data.

    Raises:
        SagaError: A part is missing or is for another task, or the config is not one that this works for.
    """
    if not own:
        return
    task = task_of(cfg)
    _refuse_others(own, task, cfg.filename)
    task.load_data().use_own(cfg, own, training)
    # else the demo's pictures would be drawn, which nobody reads now
    cfg.pop('demo_data', None)


def _refuse_others(own: OwnData, task: Task, config: str | None) -> None:
    """Refuse options that are for other tasks."""
    foreign: dict[str, list[str]] = {}
    for name in own.paths:
        if name != 'data_root' and name not in task.data.options:
            who = listed(options_of('data')[name][1]) if name in options_of('data') else 'no task'
            foreign.setdefault(who, []).append(name)
    for who, names in foreign.items():
        takes = ', '.join(map(option_text, task.data.options))
        raise SagaError(f'{own.given(names)}: for {who}, and config {config} is for {task.name}, which takes {takes}')


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
    # below a head too: its loss or its coder may be told the number as well
    counted = any(f'.{head}' in path for head in heads) and isinstance(node.get('num_classes'), int)
    own = [(path, node['num_classes'])] if counted else []
    return own + [found for key, value in node.items() for found in class_counts(value, heads, f'{path}.{key}')]


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
