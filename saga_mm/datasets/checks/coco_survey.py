"""Survey a data set in COCO format, and go on after the first problem."""

import os
from collections import Counter
from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import cv2
import numpy as np

from .coco import read_coco
from .coco_config import (
    check_classes,
    coco_classes,
    coco_paths,
    filter_of,
    ignores_orientation,
    loads_masks,
    on_remote_storage,
)
from .coco_filter import note_dropped, note_left_out
from .coco_guess import note_doubts
from .coco_records import (
    CORRECT,
    AnnotationCounts,
    annotation_problem,
    check_annotations,
    check_categories,
    check_image_records,
)
from .coco_repeats import note_repeats
from .images import ListedImage, check_files_exist, check_images
from .problems import Problems
from .survey import Box, Sample, Survey, read_shown, scale_to


class Annotated(NamedTuple):
    """An image with those of its annotations that can be drawn."""

    image: ListedImage
    annotations: list[dict]


def survey_coco(cfg: Mapping[str, Any], *, decode: bool | None = None, need_annotations: bool = True) -> Survey | None:
    """Survey the data set of one ``CocoDataset`` config.

    Args:
        cfg: The config, no wrapper such as ``RepeatDataset``.
        decode: See :func:`~saga_mm.datasets.checks.coco.check_coco`.
        need_annotations: Whether a file without annotations is a problem.

    Returns:
        What there is and what is wrong with it; None if the data lies on remote storage.

    Raises:
        SagaError: There is nothing to look at: the annotation file is missing, or something else.
    """
    ann_file, folder = coco_paths(cfg)
    if on_remote_storage(cfg, ann_file, folder):
        return None
    data = read_coco(Path(ann_file), ('images', 'categories') + ('annotations',) * need_annotations)
    problems, warnings = Problems(ann_file), Problems(ann_file)
    names = check_categories(data['categories'], problems)
    images = check_image_records(data['images'], problems)
    annotations = data.get('annotations', [])
    counts = check_annotations(annotations, images, names, problems, need_masks=loads_masks(cfg))
    if need_annotations and not counts.used:
        problems.add('no annotation that can be used for training or evaluation', CORRECT)
    classes = coco_classes(cfg) or list(names.values())
    check_classes(list(names.values()), classes, problems, cfg.get('test_mode', False))
    upright = not ignores_orientation(cfg)
    present = _check_files(Path(folder), images, problems, upright, decode)

    # by the config's order, as CocoFile numbers them
    labels = {i: classes.index(name) for i, name in names.items() if name in classes}
    grouped = _group(annotations, labels)
    seen = Counter(label for own in grouped.values() for label in {labels[ann['category_id']] for ann in own})
    per_class = dict.fromkeys(classes, 0) | {names[i]: counts.per_category[i] for i in labels}
    note_doubts(counts.evidence, problems, warnings)
    note_repeats(images, annotations, warnings)
    if not problems:
        note_left_out(images, annotations, set(labels), filter_of(cfg), problems, warnings)
    _note_counts(counts, len(images), per_class, warnings)
    left_out = sum(counts.per_category.values()) - sum(per_class.values())
    return Survey(
        source=ann_file,
        unit='objects',
        per_class=per_class,
        images_per_class={name: seen[label] for label, name in enumerate(classes)},
        rest={'of other classes': left_out} if left_out else {},
        sizes=[(image.width, image.height) for image in images.values()],
        num_images=len(images),
        palette=(cfg.get('metainfo') or {}).get('palette') or (),
        problems=problems,
        warnings=warnings,
        samples=[Annotated(images[i], grouped.get(i, [])) for i in present],
        load=partial(_sample, folder=Path(folder), labels=labels, upright=upright),
    )


def _check_files(
    folder: Path, images: dict[int, ListedImage], problems: Problems, upright: bool, decode: bool | None
) -> list[int]:
    """Check the image files; returns the ids of those that are there."""
    if not folder.is_dir():
        problems.add(f'image folder {folder} does not exist', 'Correct its path, or fill it.')
        return []
    check_files_exist(folder, [image.name for image in images.values()], problems)
    present = [i for i, image in images.items() if os.path.isfile(folder / image.name)]
    listed = [images[i] for i in present]
    check_images(folder, listed, problems, decode=decode, ignore_orientation=not upright)
    return present


def _group(annotations: list, labels: Mapping[int, int]) -> dict[int, list[dict]]:
    """Annotations of known classes by their image."""
    grouped: dict[int, list[dict]] = {}
    for record in annotations:
        ids = [record.get(key) for key in ('image_id', 'category_id')] if isinstance(record, dict) else [None]
        if all(type(value) is int for value in ids) and ids[1] in labels:
            grouped.setdefault(ids[0], []).append(record)
    return grouped


def _note_counts(counts: AnnotationCounts, num_images: int, per_class: Mapping[str, int], warnings: Problems) -> None:
    for name, count in per_class.items():
        if not count:
            warnings.add('class that never occurs', 'It can be neither learned nor measured here.', repr(name))
    notes = {
        'images without any annotation': num_images - len(counts.annotated),
        'annotations of crowds': counts.crowd,
        'annotations without a mask': counts.without_mask,
    }
    for kind, count in notes.items():
        if count:
            warnings.add(f'{count:,} {kind}', 'See that this is meant.')
    note_dropped(counts, warnings)


def _sample(item: Annotated, side: int, folder: Path, labels: Mapping[int, int], upright: bool) -> Sample:
    image = scale_to(read_shown(str(folder / item.image.name), not upright), side)
    height, width = image.shape[:2]
    # boxes and polygons are in pixels of the file
    factor = width / item.image.width
    ids = np.full((height, width), -1, np.int16)
    boxes = []
    drawable = [ann for ann in item.annotations if annotation_problem(ann, item.image) is None]
    # small objects last, so that large ones do not hide them
    for ann in sorted(drawable, key=lambda ann: -ann['area']):
        left, top, wide, high = (factor * value for value in ann['bbox'])
        label = labels[ann['category_id']]
        boxes.append(Box(left, top, left + wide, top + high, label))
        ids[_mask(ann.get('segmentation') or [], item.image, (height, width), factor)] = label
    return Sample(item.image.name, image, ids, boxes)


def _mask(segmentation: list | dict, image: ListedImage, shape: tuple[int, int], factor: float) -> np.ndarray:
    """A mask of an annotation at the size that it is shown at."""
    mask = np.zeros(shape, np.uint8)
    if isinstance(segmentation, dict):
        from pycocotools import mask as coco_mask

        plain = isinstance(segmentation['counts'], list)
        rle = coco_mask.frPyObjects(segmentation, image.height, image.width) if plain else segmentation
        mask = cv2.resize(coco_mask.decode(rle), shape[::-1], interpolation=cv2.INTER_NEAREST)
    for polygon in segmentation if isinstance(segmentation, list) else ():
        points = (np.array(polygon, np.float64).reshape(-1, 2) * factor).round().astype(np.int32)
        if len(points):
            cv2.fillPoly(mask, [points], 1)
    return mask.astype(bool)
