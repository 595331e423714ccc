"""Classes of data beside those that a checkpoint was trained on."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from saga_mm.datasets.checks.problems import short_list
from saga_mm.display.console import say
from saga_mm.display.overlay import palette
from saga_mm.errors import SagaError
from saga_mm.loading.datasets import leaf_datasets
from saga_mm.tasks import task_of
from saga_mm.tasks.own_data import set_num_classes

if TYPE_CHECKING:
    from os import PathLike

    from mmengine.config import Config

SHOWN = 5


def fit_classes(
    cfg: Config,
    meta: Mapping[str, Any],
    checkpoint: str | PathLike[str],
    loaders: Sequence[str] = ('test_dataloader',),
) -> None:
    """Make data sets number their classes as a checkpoint does.

    A folder or a file of another part of the data may hold some of the classes alone, name them in another order, or,
    in COCO format, name others as well, which are then left out. Where all names are others, and as many, a line says
    that they are compared by their places.

    Args:
        cfg: The config, changed in place.
        meta: What the checkpoint says besides weights.
        checkpoint: Its file, for messages.
        loaders: Keys of the config.

    Raises:
        SagaError: The names do not say which classes are meant.
    """
    known = _names(meta.get('dataset_meta'))
    # of a list with one name twice, a name does not say which number is meant
    if not known or len(set(known)) < len(known):
        return
    data = task_of(cfg).load_data()
    leaves = [leaf for key in loaders if cfg.get(key) is not None for leaf in leaf_datasets(cfg[key].dataset)]
    said = set()
    for leaf in leaves:
        found = _names(data.metainfo_of(leaf))
        if not found or found == known:
            continue
        line = _line(found, known, checkpoint, data.goes_by_names(leaf), data.leaves_out_others(leaf))
        if data.goes_by_names(leaf) and set(found) & set(known):
            leaf['metainfo'] = {**(leaf.get('metainfo') or {}), 'classes': known, 'palette': palette(len(known))}
            # heads as the checkpoint has them, or its weights would not load
            if len(found) != len(known):
                set_num_classes(cfg.model, len(known), data.heads)
        if line not in said:
            say(line)
        said.add(line)


def _line(
    found: tuple[str, ...], known: tuple[str, ...], checkpoint: str | PathLike[str], by_name: bool, leaves_out: bool
) -> str:
    """The line to print about classes that differ."""
    both = f'{checkpoint} was trained on {_text(known)}, and the data have {_text(found)}'
    common = set(found) & set(known)
    if by_name and common == set(found):
        return f'classes are those of the checkpoint, in its order: {short_list(list(known), SHOWN)}'
    if by_name and leaves_out and common == set(known):
        others = short_list([name for name in found if name not in common], SHOWN)
        return f'warning: {both}; what is marked as {others} is left out'
    if by_name and common:
        raise SagaError(f'{both}; correct the names of classes, or remove those that the checkpoint does not know')
    if len(found) != len(known):
        raise SagaError(f'{both}; take the data or the config that it was trained with')
    moved = [name for name, other in zip(found, known) if name != other and name in common]
    if moved:
        raise SagaError(
            f'{both}: {short_list(moved, SHOWN)} at another place, and the masks hold numbers; list the classes in the '
            'order of the checkpoint if the masks have its numbers, else change the masks'
        )
    pairs = [f'{name!r} with {other!r}' for name, other in zip(found, known) if name != other]
    shown = ', '.join(pairs[:SHOWN]) + (', ...' if len(pairs) > SHOWN else '')
    return f'warning: {both}; they are compared by their places: {shown}'


def _names(meta: Any) -> tuple[str, ...]:
    names = meta.get('classes') if isinstance(meta, Mapping) else None
    if isinstance(names, str) or not isinstance(names, Sequence):
        return ()
    return tuple(names) if all(isinstance(name, str) for name in names) else ()


def _text(names: tuple[str, ...]) -> str:
    return f'{len(names)} classes ({short_list(list(names), SHOWN)})'
