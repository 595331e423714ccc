"""The description of a task: how its configs are recognised, its data, its verbs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib import import_module
from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    from saga_mm.tasks.data import TaskData


class Option(NamedTuple):
    """An option of a command that not every task has.

    Attributes:
        help: What it does.
        settings: Further arguments of argparse's ``add_argument``.
    """

    help: str
    settings: Mapping[str, Any] = {}


class Implementation(NamedTuple):
    """The code behind a part of a task.

    Attributes:
        target: A class or a function, ``'package.module:name'``. It is imported when it is used, so that a help text
            and a config of another task do not wait for it.
        options: What the command line names for it beyond what all tasks have; ``target`` takes them by these names.
    """

    target: str
    options: Mapping[str, Option] = {}

    def load(self) -> Any:
        """The class or function."""
        module, _, name = self.target.partition(':')
        return getattr(import_module(module), name)


@dataclass(frozen=True)
class Task:
    """What models are for. A new task is a folder with one of these, and a line in ``TASKS``.

    Attributes:
        name: What it is called.
        scope: The ``default_scope`` of its configs: the library that their names are looked up in.
        data: A :class:`~saga_mm.tasks.data.TaskData`. Its options name a user's own data.
        verbs: What can be done, by the name of the command. Of these,

            - ``train`` and ``test`` are an :class:`~saga_mm.tasks.evaluation.Evaluation`
            - ``predict`` is a :class:`~saga_mm.tasks.prediction.Prediction`
            - ``export`` is an :class:`~saga_mm.tasks.export.Export`
            - others belong to commands that one task has.
        models: Types of models, where several tasks share a scope.
        exported: The kind of exported file that ``predict`` runs, of :data:`saga_mm.onnx.facts.KINDS`; empty for none.
        next_steps: The commands that use a checkpoint on one's own pictures, without the program's name, with
            ``{config}``, ``{checkpoint}`` and ``{folder}``, that of the checkpoint.
    """

    name: str
    scope: str
    data: Implementation
    verbs: Mapping[str, Implementation]
    models: tuple[str, ...] = ()
    exported: str = ''
    next_steps: tuple[str, ...] = ('predict {config} {checkpoint} FOLDER',)

    def load_data(self) -> TaskData:
        """The class of the task's data."""
        return self.data.load()()

    def has_option(self, name: str) -> bool:
        """Whether a verb of the task has an option that not every task has."""
        return any(name in implementation.options for implementation in self.verbs.values())


def option_text(name: str) -> str:
    """``'train_ann'`` as it is typed: ``'--train-ann'``."""
    return f'--{name.replace("_", "-")}'


def listed(words: Sequence[str]) -> str:
    """``'a, b and c'``."""
    *first, last = words
    return f'{", ".join(first)} and {last}' if first else last
