"""Detection, segmentation, classification and enhancement: one folder a task, and one line for it in ``TASKS``."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from saga_mm.errors import SagaError
from saga_mm.tasks.classification import CLASSIFICATION
from saga_mm.tasks.detection import DETECTION
from saga_mm.tasks.enhancement import ENHANCEMENT
from saga_mm.tasks.segmentation import SEGMENTATION
from saga_mm.tasks.task import Option, Task, listed, option_text

if TYPE_CHECKING:
    from mmengine.config import Config

# the first is that of configs which do not say what they are for
TASKS = (DETECTION, SEGMENTATION, ENHANCEMENT, CLASSIFICATION)

# what some tasks do in the place of `test` with --mode, and of `predict` with an exported file
MODES, EXPORTED = 'modes', 'predict-exported'


def task_of(cfg: Config) -> Task:
    """The task of a config: by the library that its names are looked up in, and by its model where several share it."""
    found = [task for task in TASKS if task.scope == cfg.get('default_scope')] or [TASKS[0]]
    # enhancement and classification share our own scope
    kind = str((cfg.get('model') or {}).get('type', '')).rpartition('.')[2]
    return next((task for task in found if kind in task.models), found[0])


def start_verb(cfg: Config, verb: str, given: Mapping[str, Any]) -> Any:
    """The object behind a verb of a config's task.

    Args:
        cfg: The config.
        verb: The verb.
        given: Options that only some tasks have, by name; those that are None or False were not given.

    Raises:
        SagaError: The task does not have the verb, or an option is for other tasks.
    """
    return _start(task_of(cfg), verb, given, f'config {cfg.filename}')


def start_exported(path: str, kind: str, given: Mapping[str, Any]) -> Any:
    """The object that predicts with an exported file of this kind; see :func:`start_verb`.

    Raises:
        SagaError: Also if the kind is one that is not predicted with.
    """
    known = {task.exported: task for task in TASKS if EXPORTED in task.verbs}
    if kind not in known:
        raise SagaError(f'{path}: is of kind {kind}; predict runs exported files of kind {" and ".join(known)}')
    task = known[kind]
    return _start(task, EXPORTED, given, path)


def options_of(verb: str) -> dict[str, tuple[Option, list[str]]]:
    """Options of a verb that some tasks have, or of their ``data``, with the names of those tasks."""
    found: dict[str, tuple[Option, list[str]]] = {}
    for task in TASKS:
        part = task.data if verb == 'data' else task.verbs.get(verb)
        for name, option in part.options.items() if part else ():
            found.setdefault(name, (option, []))[1].append(task.name)
    return found


def _start(task: Task, verb: str, given: Mapping[str, Any], source: str) -> Any:
    if verb not in task.verbs:
        own = ', '.join(name for name in task.verbs if name not in (MODES, EXPORTED))
        raise SagaError(f'{source}: is for {task.name}, which has no {verb}; it has {own}')
    given = {name: value for name, value in given.items() if value is not None and value is not False}
    for name in given:
        if name not in task.verbs[verb].options:
            who = [other.name for other in TASKS if other is not task and other.has_option(name)]
            raise SagaError(
                f'{option_text(name)}: for {listed(who) if who else f"another verb than {verb}"}, and {source} is for '
                f'{task.name}'
            )
    return task.verbs[verb].load()(**given)
