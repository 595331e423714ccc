"""Check the records of a COCO annotation file: categories, images and annotations."""

import os
import reprlib
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field

from saga_mm.display.console import is_speaker
from saga_mm.display.progress import progress_bar
from saga_mm.images.headers import leaves_folder

from .coco_guess import LOOKED_AT, Evidence
from .coco_masks import mask_problem
from .images import ListedImage
from .problems import Problems

CORRECT = 'Correct or export the annotation file again.'
LONGEST_NAME = 200
LARGEST_SIDE = 2**24
_PLURALS = {'image': 'images', 'category': 'categories'}


@dataclass
class AnnotationCounts:
    """Numbers of annotations; ``dropped`` are those that mmdet does not use, ``annotated`` the ids of their images.

    ``areas_of_0`` are dropped for their area alone, and have boxes with a size. ``evidence`` is what boxes can be
    judged by.
    """

    per_category: Counter = field(default_factory=Counter)
    annotated: set[int] = field(default_factory=set)
    crowd: int = 0
    dropped: int = 0
    areas_of_0: int = 0
    used: int = 0
    without_mask: int = 0
    evidence: Evidence = field(default_factory=Evidence)


def check_categories(records: list, problems: Problems) -> dict[int, str]:
    """Names by id, in the order of the file."""
    names: dict[int, str] = {}
    if not records:
        problems.add('no categories', 'List the classes in "categories".')
    for label, record in _with_id(records, 'category', problems):
        name = record.get('name')
        if not isinstance(name, str) or not name.strip():
            problems.add('category without a name', 'Give each a "name".', label)
        elif not _is_text(name):
            cure = f'A name has at most {LONGEST_NAME} letters, and no halves of characters (lone surrogates).'
            problems.add('category with a name that cannot be shown', cure, f'{label} ({name[:30]!a})')
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
        elif not _is_file_name(name):
            problems.add('file_name that no file can have', CORRECT, f'{label} ({name[:30]!a})')
        elif leaves_folder(name):
            cure = 'A file_name must be relative to the image folder and stay inside it.'
            problems.add('file_name that leaves the image folder', cure, name)
        elif not all(type(length) is int and 0 < length <= LARGEST_SIDE for length in (width, height)):
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
) -> AnnotationCounts:
    """Check every annotation against the images and categories, in one pass."""
    counts = AnnotationCounts()
    # noted at the end: what all of them have in common says what is wrong
    unknown: dict[str, list[tuple[str, object]]] = {'image_id': [], 'category_id': []}
    # guesses need some hundreds of annotations, and there may be millions
    step = max(1, len(records) // LOOKED_AT)
    bar = progress_bar(records, len(records), 'checking annotations', is_speaker(), delay=2, unit=' annotations')
    for index, record in enumerate(bar):
        if not isinstance(record, dict):
            problems.add('annotation that is no object', CORRECT, f'entry {index} ({reprlib.repr(record)})')
            continue
        # its own id may be anything: nothing depends on it
        label = f'annotation {record["id"]}' if type(record.get('id')) is int else f'annotation at entry {index}'
        image = images.get(_hashable(record.get('image_id')))
        category = _hashable(record.get('category_id'))
        if image is None or category not in names:
            key = 'image_id' if image is None else 'category_id'
            unknown[key].append((label, record.get(key)))
            continue
        problem = annotation_problem(record, image)
        if problem is None and index % step == 0:
            counts.evidence.add(record, image)
        if problem:
            problems.add('malformed annotation', CORRECT, f'{label} ({problem})')
            continue
        mask = record.get('segmentation')
        counts.per_category[category] += 1
        counts.annotated.add(record['image_id'])
        counts.without_mask += not mask
        if _is_dropped(record, image):
            counts.dropped += 1
            counts.areas_of_0 += record['area'] == 0 and not _is_dropped({**record, 'area': 1}, image)
            continue
        if need_masks and not mask:
            cure = 'Add a "segmentation", or train a detector of boxes, such as saga_rtmdet.py.'
            problems.add('annotation without a mask', cure, label)
        counts.crowd += bool(record.get('iscrowd'))
        counts.used += not record.get('iscrowd')
    _note_unknown(unknown['image_id'], 'image_id', set(images), problems)
    _note_unknown(unknown['category_id'], 'category_id', set(names), problems)
    return counts


def _note_unknown(cases: list[tuple[str, object]], key: str, known: set[int], problems: Problems) -> None:
    """Note the annotations that name what does not exist, with a guess where their ids are shifted or are texts."""
    kind = {'image_id': 'image', 'category_id': 'category'}[key]
    cure = f'List the {kind}, or correct the annotation.'
    values = [value for _, value in cases]
    if known and values and all(isinstance(value, str) and value.strip().lstrip('-').isdecimal() for value in values):
        cure = f'They are texts: write {key} as a number, without quotation marks.'
    elif known and values and all(type(value) is int for value in values):
        beside = [min(known) - 1 == value or max(known) + 1 == value for value in values]
        if all(beside) and len(set(values)) == 1:
            cure = f'Ids of "{_PLURALS[kind]}" run from {min(known)} to {max(known)}; are those of annotations one off?'
    for label, value in cases:
        problems.add(f'annotation of an unknown {key}', cure, f'{label} ({reprlib.repr(value)})')


def _is_text(name: str) -> bool:
    return len(name) <= LONGEST_NAME and name.encode('utf-8', 'ignore').decode() == name


def _is_file_name(name: str) -> bool:
    try:
        return len(os.fsencode(name)) < 4096
    except UnicodeEncodeError:
        return False


def _with_id(records: list, kind: str, problems: Problems) -> Iterator[tuple[str, dict]]:
    """The records that are dicts with an id of their own, each with a label for messages; the others are noted."""
    seen: set[int] = set()
    for index, record in enumerate(records):
        if not isinstance(record, dict):
            problems.add(f'{kind} that is no object', CORRECT, f'entry {index} ({reprlib.repr(record)})')
        # larger ones do not fit into the arrays of pycocotools
        elif type(record.get('id')) is not int or not -(2**63) <= record['id'] < 2**63:
            problems.add(f'{kind} without an integer id', CORRECT, f'entry {index} ({reprlib.repr(record.get("id"))})')
        elif record['id'] in seen:
            problems.add(f'{kind} id used twice', 'Give each its own id.', str(record['id']))
        else:
            seen.add(record['id'])
            yield f'{kind} {record["id"]}', record


def _hashable(value: object) -> int | None:
    # of another type it may have no hash, and True equals 1
    return value if type(value) is int else None


def _is_number(value: object) -> bool:
    # by type, as True is an int in Python; NaN is not below the bound
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
        return f'bbox {_short(box)} is not four finite numbers [x, y, width, height]'
    if box[2] < 0 or box[3] < 0:
        return f'bbox {box} has a negative size'
    if not _is_number(record.get('area')):
        return f'area {_short(record.get("area"))} is not a finite number'
    if record.get('iscrowd', 0) not in (0, 1):
        return f'iscrowd {_short(record["iscrowd"])} is not 0 or 1'
    return None


def _short(value: object) -> str:
    # of a long list or number only a part
    return (value if isinstance(value, str) else reprlib.repr(value))[:60]


def _is_dropped(record: dict, image: ListedImage) -> bool:
    """Whether mmdet's CocoDataset leaves the annotation out."""
    x, y, width, height = record['bbox']
    inside = min(x + width, image.width) > max(x, 0) and min(y + height, image.height) > max(y, 0)
    return bool(record.get('ignore')) or not inside or record['area'] <= 0 or width < 1 or height < 1
