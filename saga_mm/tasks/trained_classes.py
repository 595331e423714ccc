"""Classes of the data of an evaluation beside those that its checkpoint was trained on."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from saga_mm.datasets.checks.problems import short_list
from saga_mm.display.console import say
from saga_mm.display.overlay import palette
from saga_mm.loading.datasets import leaf_datasets
from saga_mm.tasks import task_of
from saga_mm.tasks.own_data import set_num_classes

if TYPE_CHECKING:
    from mmengine.config import Config

    from saga_mm.loading.trained import Trained

SHOWN = 5


def fit_classes(cfg: Config, trained: Trained) -> None:
    """Have the data of an evaluation number their classes as the checkpoint does, where it knows all of them.

    A folder or a file of another part of the data may hold some of the classes alone, or name them in another order.
    Where names differ, a line says so: classes are then compared by their places.

    Args:
        cfg: The config, changed in place.
        trained: The checkpoint.
    """
    known = _names(trained.meta.get('dataset_meta'))
    if not known:
        return
    data = task_of(cfg).load_data()
    for leaf in leaf_datasets(cfg.test_dataloader.dataset):
        found = _names(data.metainfo_of(leaf))
        if not found or found == known:
            continue
        if data.by_name and set(found) <= set(known):
            leaf['metainfo'] = {**(leaf.get('metainfo') or {}), 'classes': known, 'palette': palette(len(known))}
            if len(found) != len(known):
                set_num_classes(cfg.model, len(known), data.heads)
            say(f'classes are those of the checkpoint, in its order: {short_list(list(known), SHOWN)}')
        else:
            say(
                f'warning: {trained.checkpoint} was trained on {_text(known)}, and the data have {_text(found)}; '
                'they are compared by their places'
            )


def _names(meta: Any) -> tuple[str, ...]:
    names = meta.get('classes') if isinstance(meta, Mapping) else None
    if isinstance(names, str) or not isinstance(names, Sequence):
        return ()
    return tuple(names) if all(isinstance(name, str) for name in names) else ()


def _text(names: tuple[str, ...]) -> str:
    return f'{len(names)} classes ({short_list(list(names), SHOWN)})'
