"""Checks of the records of a COCO annotation file: categories, images and annotations."""

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field

from saga_mm.display.progress import progress_bar
from saga_mm.images.headers import leaves_folder

from .coco_masks import mask_problem
from .images import ListedImage
from .problems import Problems

CORRECT = 'Correct or export the annotation file again.'


@dataclass
class AnnotationCounts:
    """Numbers of annotations; ``dropped`` are those that mmdet does not use, ``annotated`` the ids of their images."""

    per_category: Counter = field(default_factory=Counter)
    annotated: set[int] = field(default_factory=set)
    crowd: int = 0
    dropped: int = 0
    used: int = 0
    without_mask: int = 0


def check_categories(records: list, problems: Problems) -> dict[int, str]:
    """Names by id, in the order of the file."""
    names: dict[int, str] = {}
    if not records:
        problems.add('no categories', 'List the classes in "categories".')
    for label, record in _with_id(records, 'category', problems):
        name = record.get('name')
        if not isinstance(name, str) or not name.strip():
            problems.add('category without a name', 'Give each a "name".', label)
        elif name in names.values():
            problems.add('two categories of one name', 'Names tell the classes apart: make them differ.', repr(name))
        else:
            names[record['id']] = name
    return names


def check_image_records(records: list, problems: Problems) -> dict[int, ListedImage]:
    """Images by id."""
    images: dict[int, ListedImage] = {}
    if not records:
        problems.add('no images', CORRECT)
    for label, record in _with_id(records, 'image', problems):
        name, width, height = (record.get(key) for key in ('file_name', 'width', 'height'))
        if not isinstance(name, str) or not name:
            problems.add('image without a file_name', CORRECT, label)
        elif leaves_folder(name):
            cure = 'A file_name must be relative to the image folder and stay inside it.'
            problems.add('file_name that leaves the image folder', cure, name)
        elif not all(type(length) is int and length > 0 for length in (width, height)):
            problems.add('image without width and height (integers from 1 up)', CORRECT, f'{label} ({width}, {height})')
        else:
            images[record['id']] = ListedImage(name, width, height)
    return images


def check_annotations(
    records: list,
    images: dict[int, ListedImage],
    names: dict[int, str],
    problems: Problems,
    *,
    need_masks: bool = False,
    progress: bool = True,
) -> AnnotationCounts:
    """Check every annotation against the images and categories, in one pass."""
    counts = AnnotationCounts()
    bar = progress_bar(records, len(records), 'checking annotations', progress, delay=2, unit=' annotations')
    for label, record in _with_id(bar, 'annotation', problems):
        image = images.get(_hashable(record.get('image_id')))
        category = _hashable(record.get('category_id'))
        if image is None:
            problems.add('annotation of an unknown image_id', CORRECT, f'{label} ({record.get("image_id")!r})')
            continue
        if category not in names:
            cure = 'Add the category to "categories", or correct the annotation.'
            problems.add('annotation of an unknown category_id', cure, f'{label} ({record.get("category_id")!r})')
            continue
        problem = annotation_problem(record, image)
        if problem:
            problems.add('malformed annotation', CORRECT, f'{label} ({problem})')
            continue
        mask = record.get('segmentation')
        counts.per_category[category] += 1
        counts.annotated.add(record['image_id'])
        counts.without_mask += not mask
        if _is_dropped(record, image):
            counts.dropped += 1
            continue
        if need_masks and not mask:
            cure = 'Add a "segmentation", or train a detector of boxes.'
            problems.add('annotation without a mask', cure, label)
        counts.crowd += bool(record.get('iscrowd'))
        counts.used += not record.get('iscrowd')
    return counts


def _with_id(records: list, kind: str, problems: Problems) -> Iterator[tuple[str, dict]]:
    """The records that are dicts with an id of their own, each with a label for messages; the others are noted."""
    seen: set[int] = set()
    for index, record in enumerate(records):
        if not isinstance(record, dict):
            problems.add(f'{kind} that is no object', CORRECT, f'entry {index} ({str(record)[:40]})')
        elif type(record.get('id')) is not int:
            problems.add(f'{kind} without an integer id', CORRECT, f'entry {index} ({record.get("id")!r})')
        elif record['id'] in seen:
            problems.add(f'{kind} id used twice', 'Give each its own id.', str(record['id']))
        else:
            seen.add(record['id'])
            yield f'{kind} {record["id"]}', record


def _hashable(value: object) -> int | None:
    return value if type(value) is int else None


def _is_number(value: object) -> bool:
    return type(value) in (int, float) and abs(value) < 1e15


def annotation_problem(record: dict, image: ListedImage) -> str | None:
    """What is wrong with the box or the mask of an annotation of ``image``, or None."""
    problem = _box_problem(record)
    mask = record.get('segmentation')
    if problem is None and mask:
        wrong = mask_problem(mask, image.height, image.width)
        problem = wrong and f'segmentation {wrong}'
    return problem


def _box_problem(record: dict) -> str | None:
    box = record.get('bbox')
    if not isinstance(box, list) or len(box) != 4 or not all(map(_is_number, box)):
        return f'bbox {str(box)[:60]} is not four finite numbers [x, y, width, height]'
    if box[2] < 0 or box[3] < 0:
        return f'bbox {box} has a negative size'
    if not _is_number(record.get('area')):
        return f'area {str(record.get("area"))[:40]} is not a finite number'
    if record.get('iscrowd', 0) not in (0, 1):
        return f'iscrowd {str(record["iscrowd"])[:40]} is not 0 or 1'
    return None


def _is_dropped(record: dict, image: ListedImage) -> bool:
    """Whether mmdet's CocoDataset leaves the annotation out."""
    x, y, width, height = record['bbox']
    inside = min(x + width, image.width) > max(x, 0) and min(y + height, image.height) > max(y, 0)
    return bool(record.get('ignore')) or not inside or record['area'] <= 0 or width < 1 or height < 1
