"""Pointing a detection config at one's own images and COCO annotations."""

from __future__ import annotations

import colorsys
import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from saga_mm.errors import SagaError

if TYPE_CHECKING:
    from mmengine.config import Config

COUNTED_HEADS = ('bbox_head', 'mask_head', 'mask_iou_head')


@dataclass
class OwnData:
    """One's own data, as given on a command line.

    Attributes:
        data_root: Folder that the other paths are relative to; without it they are relative to where one is.
        train_ann: COCO annotations of the training images; they also say which classes there are.
        val_ann: COCO annotations of the images to evaluate on.
        train_img: Folder of the training images.
        val_img: Folder of the images to evaluate on.
    """

    data_root: str | None = None
    train_ann: str | None = None
    val_ann: str | None = None
    train_img: str | None = None
    val_img: str | None = None

    def __bool__(self) -> bool:
        return any(vars(self).values())


def use_own_data(cfg: Config, own: OwnData, training: bool = True) -> None:
    """Set data sets, classes, numbers of classes and evaluators of a config.

    Args:
        cfg: A detection config, changed in place.
        own: The data; nothing happens if it is empty.
        training: Whether the config is for a training, which needs both parts of the data.

    Raises:
        SagaError: A part is missing, or the config is not one that this works for.
    """
    if not own:
        return
    needed = {'--train-ann': own.train_ann, '--val-ann': own.val_ann} if training else {'--val-ann': own.val_ann}
    given = ', '.join(f'--{key.replace("_", "-")}' for key, value in vars(own).items() if value)
    for option, value in needed.items():
        if not value:
            what = 'the training images' if option == '--train-ann' else 'the images to evaluate on'
            raise SagaError(f'{given} needs {option} as well: the COCO annotation file of {what}')

    from saga_mm.datasets.coco_check import classes_of

    classes = classes_of(_resolve(own.data_root, own.train_ann or own.val_ann))
    if training:
        _point(cfg, 'train_dataloader', own.data_root, own.train_ann, own.train_img, classes)
    for part in ('val', 'test'):
        if cfg.get(f'{part}_dataloader') is not None:
            _point(cfg, f'{part}_dataloader', own.data_root, own.val_ann, own.val_img, classes)
            _evaluate_on(cfg, f'{part}_evaluator', _resolve(own.data_root, own.val_ann))
    set_num_classes(cfg.model, len(classes))
    cfg.pop('demo_data', None)


def set_num_classes(model: dict[str, Any], count: int) -> None:
    """Set the number of classes of every head that predicts them, those of a cascade too."""
    heads = list(_heads(model))
    if not heads:
        raise SagaError(f'config: found no {" or ".join(COUNTED_HEADS)} in model; set its classes in the config')
    for head in heads:
        head['num_classes'] = count


def class_counts(node: Any, path: str = 'model') -> list[tuple[str, int]]:
    """Where a model's config says how many classes its boxes have: ``('model.roi_head.bbox_head', 80)``."""
    if isinstance(node, (list, tuple)):
        return [found for index, part in enumerate(node) for found in class_counts(part, f'{path}.{index}')]
    if not isinstance(node, Mapping):
        return []
    own = [(path, node['num_classes'])] if '.bbox_head' in path and isinstance(node.get('num_classes'), int) else []
    return own + [found for key, value in node.items() for found in class_counts(value, f'{path}.{key}')]


def leaf_datasets(dataset: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """The data sets with files of their own inside wrappers such as ``RepeatDataset`` and ``ConcatDataset``."""
    if isinstance(dataset.get('dataset'), Mapping):
        yield from leaf_datasets(dataset['dataset'])
    elif isinstance(dataset.get('datasets'), (list, tuple)):
        for part in dataset['datasets']:
            yield from leaf_datasets(part)
    else:
        yield dataset


def _heads(node: Any) -> Iterator[dict[str, Any]]:
    for key, value in node.items():
        for part in value if isinstance(value, (list, tuple)) else (value,):
            if isinstance(part, Mapping):
                if key in COUNTED_HEADS:
                    yield part
                yield from _heads(part)


def _resolve(root: str | None, path: str) -> str:
    """A path inside the root if there is one, else as it stands: shells complete paths from where one is."""
    inside = Path(root or '.').expanduser() / Path(path).expanduser()
    return str(inside if inside.exists() or not Path(path).exists() else Path(path))


def _point(cfg: Config, key: str, root: str | None, ann: str, img: str | None, classes: tuple[str, ...]) -> None:
    leaves = list(leaf_datasets(cfg[key].dataset))
    if len(leaves) != 1:
        raise SagaError(f'config {cfg.filename}: {key} joins {len(leaves)} data sets; name your data in the config')
    folder = _resolve(root, img) if img else str(Path(root or '.').expanduser())
    leaves[0].update(
        type='CocoDataset',
        data_root='',
        ann_file=os.path.abspath(_resolve(root, ann)),
        data_prefix=dict(img=os.path.join(os.path.abspath(folder), '')),
        metainfo=dict(classes=tuple(classes), palette=_palette(len(classes))),
    )


def _evaluate_on(cfg: Config, key: str, ann: str) -> None:
    evaluators = cfg[key] if isinstance(cfg[key], (list, tuple)) else [cfg[key]]
    for evaluator in evaluators:
        if 'ann_file' in evaluator:
            evaluator['ann_file'] = os.path.abspath(ann)


def _palette(count: int) -> list[tuple[int, int, int]]:
    """Colours far apart, the same ones in every run."""
    hues = [(index * 0.618034) % 1 for index in range(count)]
    return [tuple(round(255 * part) for part in colorsys.hsv_to_rgb(hue, 0.75, 0.9)) for hue in hues]
