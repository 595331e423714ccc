"""Find the images and masks that a segmentation config names, and how it maps the ids in masks."""

import os
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from saga_mm.errors import SagaError
from saga_mm.images.headers import leaves_folder
from saga_mm.text_files import read_text

from .coco_config import ignores_orientation, on_remote_storage, pipeline_steps, type_name
from .problems import Problems

PICTURES = ('.jpg', '.jpeg', '.png', '.bmp', '.tif', '.tiff', '.webp', '.gif')


class MaskPair(NamedTuple):
    """An image below the image folder, the path of its file, and that of its mask, if there is one."""

    name: str
    image: str
    mask: str | None


@dataclass(frozen=True)
class SegmentationFolders:
    """The files of a data set and how mmseg reads them.

    Attributes:
        images: Folder of the images.
        pairs: Images with their masks.
        with_masks: Whether masks are loaded at all.
        classes: Names of the classes.
        palette: A colour for each.
        labels: What each of the 256 ids that a mask may hold means: the index of a class, -1 where it is not learned,
            the number of classes where it is none.
        mask_backend: What masks are decoded with.
        ignore_orientation: Whether images are loaded without being turned upright by their EXIF tag.
        converts: Whether images are loaded as 8-bit colour, whatever they are.
    """

    images: str
    pairs: list[MaskPair]
    with_masks: bool
    classes: list[str]
    palette: list
    labels: np.ndarray
    mask_backend: str
    ignore_orientation: bool
    converts: bool


def open_folders(cfg: Mapping[str, Any], problems: Problems, warnings: Problems) -> SegmentationFolders | None:
    """List the images and masks of a data set, through mmseg's own class.

    Args:
        cfg: A config of mmseg's ``BaseSegDataset`` or of a class derived from it.
        problems: Where to note masks that are not there.
        warnings: Where to note files that are not used.

    Returns:
        What there is; None if the class is another, or the data lies on remote storage.

    Raises:
        SagaError: There are no images, or no classes, or the config does not make a data set.
    """
    kind = _class(cfg)
    if kind is None:
        return None
    dataset = _build(kind, cfg)
    img_dir, mask_dir = (dataset.data_prefix.get(key) for key in ('img_path', 'seg_map_path'))
    if on_remote_storage(cfg, *filter(None, (img_dir, mask_dir, dataset.ann_file))):
        return None
    steps = {type_name(step): step for step in pipeline_steps(cfg)}
    loader = steps.get('LoadAnnotations')
    if loader is not None and mask_dir is None:
        raise SagaError(f'{img_dir}: the pipeline loads masks, but data_prefix has no seg_map_path. Set it.')
    with_masks = mask_dir is not None and (loader is not None or not steps)
    pairs = _list_images(dataset, img_dir, mask_dir if with_masks else None)
    if with_masks:
        pairs = _find_masks(pairs, mask_dir, dataset, problems)
    if not dataset.ann_file:
        _note_unused(pairs, img_dir, mask_dir if with_masks else None, dataset, warnings)
    return SegmentationFolders(
        images=img_dir,
        pairs=pairs,
        with_masks=with_masks,
        classes=list(dataset.metainfo['classes']),
        palette=list(dataset.metainfo['palette']),
        labels=_labels(dataset),
        mask_backend=(loader or {}).get('imdecode_backend', 'pillow'),
        ignore_orientation=ignores_orientation(cfg),
        converts=steps.get('LoadImageFromFile', {}).get('color_type', 'color').startswith('color'),
    )


def _class(cfg: Mapping[str, Any]) -> type | None:
    """The class that a config names, if it is mmseg's ``BaseSegDataset`` or derived from it."""
    from mmseg.datasets import BaseSegDataset
    from mmseg.registry import DATASETS

    kind = cfg.get('type')
    kind = DATASETS.get(kind) if isinstance(kind, str) else kind
    return kind if isinstance(kind, type) and issubclass(kind, BaseSegDataset) else None


def _build(kind: type, cfg: Mapping[str, Any]) -> Any:
    """The data set without its list of files and its pipeline."""
    classes = (cfg.get('metainfo') or {}).get('classes', kind.METAINFO.get('classes'))
    if isinstance(classes, str) and not os.path.isfile(classes):
        raise SagaError(f"metainfo['classes'] is the string {classes!r}. Write a tuple: ({classes!r},) with a comma.")
    if isinstance(classes, str):
        read_text(classes)
    if not classes:
        raise SagaError(f"{kind.__name__}: has no classes. Set metainfo=dict(classes=('road', ...)) in the config.")
    root = cfg.get('data_root')
    if root and '://' not in root and not os.path.isdir(root) and not os.path.isabs(_prefix(cfg)):
        raise SagaError(f'Data root {root} does not exist. Put the data there, or set data_root to its folder.')
    # mmseg's own class says which mask belongs to which image; its pipeline would need parts that are not looked at
    options = {key: value for key, value in cfg.items() if key not in ('type', '_scope_', 'pipeline')}
    try:
        dataset = kind(**options, pipeline=[], lazy_init=True)
    except (AssertionError, TypeError, ValueError, KeyError, OSError) as error:
        reason = ' '.join(str(error).split()) or 'a file or folder that it needs is not there'
        raise SagaError(f'{kind.__name__} ({_prefix(cfg) or root}): {reason}') from error
    twice = [name for name, count in Counter(dataset.metainfo['classes']).items() if count > 1]
    if twice:
        raise SagaError(f'{kind.__name__}: metainfo names the class {twice[0]!r} twice. Make the names differ.')
    return dataset


def _prefix(cfg: Mapping[str, Any]) -> str:
    return (cfg.get('data_prefix') or {}).get('img_path') or ''


def _list_images(dataset: Any, img_dir: str, mask_dir: str | None) -> list[MaskPair]:
    if not os.path.isdir(img_dir):
        raise SagaError(f'Image folder {img_dir} does not exist. Correct its path, or fill it.')
    if dataset.ann_file and not os.path.exists(dataset.ann_file):
        raise SagaError(f'{dataset.ann_file}, the list of images in {img_dir}, does not exist. Correct ann_file.')
    if dataset.ann_file and os.path.isfile(dataset.ann_file):
        read_text(dataset.ann_file)
    records = dataset.load_data_list()
    if not records:
        raise SagaError(_no_images(dataset, img_dir))
    pairs = []
    for record in records:
        name = os.path.relpath(record['img_path'], img_dir)
        if leaves_folder(name):
            raise SagaError(f'{dataset.ann_file}: {name!r} leaves the image folder {img_dir}. Name files inside it.')
        pairs.append(MaskPair(name, record['img_path'], record.get('seg_map_path') if mask_dir else None))
    return pairs


def _no_images(dataset: Any, img_dir: str) -> str:
    if dataset.ann_file:
        return f'{dataset.ann_file} is empty: it should hold the name of an image, without its suffix, in each line.'
    found = _suffixes(_files(img_dir))
    cure = f'It has {found}: set img_suffix.' if found else 'It is empty.'
    return f'{img_dir} has no image that ends in img_suffix={dataset.img_suffix!r}. {cure}'


def _find_masks(pairs: list[MaskPair], mask_dir: str, dataset: Any, problems: Problems) -> list[MaskPair]:
    """The same pairs, without the masks that are not there."""
    if not os.path.isdir(mask_dir):
        problems.add(f'mask folder {mask_dir} does not exist', 'Correct its path, or fill it.')
        return [pair._replace(mask=None) for pair in pairs]
    absent = [pair for pair in pairs if not os.path.isfile(pair.mask)]
    if not absent:
        return pairs
    there = [os.path.relpath(path, mask_dir) for path in _files(mask_dir)]
    stem = absent[0].name.removesuffix(dataset.img_suffix)
    close = sorted(name for name in there if name.startswith(stem))
    cure = 'Add the masks, or take the images out.'
    if close:
        cure = f'For {absent[0].name} there is {close[0]}: set seg_map_suffix={close[0][len(stem) :]!r}.'
    elif len(absent) == len(pairs):
        cure = f'The folder has {_suffixes(there) or "no files"}: is it the right one?'
    for pair in absent:
        expected = os.path.relpath(pair.mask, mask_dir)
        problems.add(f'image without a mask in {mask_dir}', cure, f'{pair.name} (should be {expected})')
    return [pair if os.path.isfile(pair.mask) else pair._replace(mask=None) for pair in pairs]


def _note_unused(pairs: list[MaskPair], img_dir: str, mask_dir: str | None, dataset: Any, warnings: Problems) -> None:
    """Masks without an image, and pictures beside the images that have another suffix."""
    used = {os.path.abspath(path) for pair in pairs for path in (pair.image, pair.mask) if path}
    masks = {path for path in _files(mask_dir) if path.endswith(dataset.seg_map_suffix)} if mask_dir else set()
    for path in sorted(masks - used):
        warnings.add(f'mask without an image in {img_dir}', 'It is not used.', os.path.relpath(path, mask_dir))
    beside = [path for path in _files(img_dir) if path not in used | masks and path.lower().endswith(PICTURES)]
    if beside:
        kind = f'pictures in {img_dir} that img_suffix={dataset.img_suffix!r} leaves out'
        warnings.add(kind, 'Rename or convert them if they belong to the data.', _suffixes(beside))


def _files(folder: str) -> list[str]:
    """Paths of the files below a folder as mmengine lists them: links followed, hidden files left out."""
    found = []
    for path, _, files in os.walk(os.path.abspath(folder), followlinks=True):
        found += [os.path.join(path, name) for name in files if not name.startswith('.')]
    return found


def _suffixes(names: Iterable[str]) -> str:
    counts = Counter(Path(name).suffix for name in names)
    return ', '.join(f'{count:,} of {suffix!r}' for suffix, count in counts.most_common(4))


def _labels(dataset: Any) -> np.ndarray:
    """The label of each id, by the steps of mmseg's ``LoadAnnotations``."""
    ids = np.arange(256)
    if dataset.reduce_zero_label:
        ids = np.where((ids == 0) | (ids == 255), 255, ids - 1)
    labels = ids.copy()
    for old_id, new_id in (dataset.label_map or {}).items():
        labels[ids == old_id] = new_id
    return np.where(labels == dataset.ignore_index, -1, labels.clip(max=len(dataset.metainfo['classes'])))
