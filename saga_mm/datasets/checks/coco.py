"""Check a data set in COCO format."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from saga_mm.errors import SagaError
from saga_mm.text_files import read_json

from .coco_filter import AREA, DROPPED, note_dropped, note_left_out
from .coco_guess import note_doubts
from .coco_records import CORRECT, check_annotations, check_categories, check_image_records
from .coco_repeats import note_repeats
from .images import check_files_exist, check_images
from .problems import Problems, short_list


@dataclass(frozen=True)
class CocoSummary:
    """What a checked data set holds; ``str()`` of it is a paragraph to print.

    Attributes:
        ann_file: The annotation file.
        per_class: Annotations of each class, in the order of the file's categories.
        num_images: Listed images.
        num_empty: Of these, images without any annotation.
        num_crowd: Annotations that mark crowds.
        num_dropped: Annotations that mmdet drops: outside the image, smaller than a pixel, without area, or marked so.
        num_without_mask: Annotations without a mask.
        smallest, largest: ``(width, height)`` of the images of least and of most pixels.
        decoded: Whether every image was decoded; else only heads and tails were read.
        warnings: What one should know.
        pictures: Paths of the images.
    """

    ann_file: Path
    per_class: dict[str, int]
    num_images: int
    num_empty: int
    num_crowd: int
    num_dropped: int
    num_without_mask: int
    smallest: tuple[int, int]
    largest: tuple[int, int]
    decoded: bool
    warnings: Problems
    pictures: tuple[str, ...] = ()

    def __str__(self) -> str:
        sizes = ' to '.join(f'{w} x {h}' for w, h in dict.fromkeys((self.smallest, self.largest)))
        few, many = (choose(self.per_class, key=self.per_class.get) for choose in (min, max))
        total = sum(self.per_class.values())
        text = (
            f'{self.ann_file}: {self.num_images:,} images of {sizes} pixels, {total:,} annotations '
            f'({self.num_crowd:,} crowds) of {len(self.per_class)} classes, from {self.per_class[few]:,} ({few}) to '
            f'{self.per_class[many]:,} ({many}).'
        )
        notes = {
            'images without any annotation': self.num_empty,
            DROPPED: self.num_dropped,
            'annotations without a mask': self.num_without_mask,
        }
        text += ''.join(f' {count:,} {note}.' for note, count in notes.items() if count)
        return text + (' All images decoded.' if self.decoded else ' Heads and tails of the images read.')


def check_coco(
    ann_file: str | Path,
    img_prefix: str | Path,
    *,
    decode: bool | None = None,
    need_masks: bool = False,
    need_annotations: bool = True,
    ignore_orientation: bool = False,
    filter_cfg: Mapping[str, Any] | None = None,
    classes: Sequence[str] | None = None,
) -> CocoSummary:
    """Check annotations and images in COCO format.

    Args:
        ann_file: The annotation file.
        img_prefix: Folder that ``file_name`` of the images is relative to.
        decode: Decode every image in full. None: up to 2,000 images; of more, heads and tails are read.
        need_masks: Every annotation that mmdet uses must have a mask.
        need_annotations: Refuse a file without any annotation.
        ignore_orientation: Images are loaded without being turned upright by their EXIF tag.
        filter_cfg: Which images mmdet leaves out of a training.
        classes: Names of those that are learned; None for all.

    Raises:
        SagaError: With all that is wrong at the first stage (file, structure, images present, images readable) where
            anything is.
    """
    ann_file, folder = Path(ann_file), Path(img_prefix)
    data = read_coco(ann_file, ('images', 'categories') + ('annotations',) * need_annotations)
    if not folder.is_dir():
        raise SagaError(f'Image folder {folder} (for {ann_file}) does not exist. Correct its path, or fill it.')
    problems = Problems(ann_file)
    names = check_categories(data['categories'], problems)
    images = check_image_records(data['images'], problems)
    problems.raise_any()
    annotations = data.get('annotations', [])
    counts = check_annotations(annotations, images, names, problems, need_masks=need_masks)
    problems.raise_any()
    warnings = Problems(ann_file)
    note_doubts(counts.evidence, problems, warnings)
    problems.raise_any()
    if need_annotations and not counts.used:
        state = f'none of its {len(annotations):,} annotations can be used' if annotations else 'no annotations'
        if counts.areas_of_0:
            state += f', {counts.areas_of_0:,} for an area of 0,'
        raise SagaError(f'{ann_file}: {state} for training or evaluation. {AREA if counts.areas_of_0 else CORRECT}')
    learned = {i for i, name in names.items() if classes is None or name in classes}
    note_left_out(images, annotations, learned, filter_cfg, problems, warnings)
    note_repeats(images, annotations, warnings)
    problems.raise_any()
    note_dropped(counts, warnings)
    # gigabytes in a large set, and what follows opens its pictures in many threads
    del data, annotations

    listed = list(images.values())
    check_files_exist(folder, [image.name for image in listed], problems)
    problems.raise_any()
    decoded = check_images(folder, listed, problems, decode=decode, ignore_orientation=ignore_orientation)
    problems.raise_any()
    # sizes and not images: a set of millions has few
    by_area = sorted({(image.width, image.height) for image in listed}, key=math.prod)
    return CocoSummary(
        ann_file=ann_file,
        per_class={name: counts.per_category[i] for i, name in names.items()},
        num_images=len(images),
        num_empty=len(images) - len(counts.annotated),
        num_crowd=counts.crowd,
        num_dropped=counts.dropped,
        num_without_mask=counts.without_mask,
        smallest=by_area[0],
        largest=by_area[-1],
        decoded=decoded,
        warnings=warnings,
        pictures=tuple(str(folder / image.name) for image in listed),
    )


def classes_of(ann_file: str | Path) -> list[str]:
    """Class names of a COCO file in the order of its ``categories``.

    Raises:
        SagaError: The file is missing, is no COCO file, or its categories are malformed.
    """
    problems = Problems(ann_file)
    names = check_categories(read_coco(Path(ann_file), ('categories',))['categories'], problems)
    problems.raise_any()
    return list(names.values())


def read_coco(ann_file: Path, lists: Sequence[str]) -> dict:
    """The content of a COCO file, in which ``lists`` are lists.

    Raises:
        SagaError: There is no such file, or it is something else.
    """
    if not ann_file.is_file():
        beside = sorted(path.name for path in ann_file.parent.glob('*.json'))[:5]
        hint = f' Beside it there is {", ".join(beside)}.' if beside else ''
        raise SagaError(f'Annotation file {ann_file} does not exist. Correct its path.{hint}')
    data = read_json(ann_file)
    found = data if isinstance(data, dict) else {}
    wrong = [key for key in lists if not isinstance(found.get(key), list)]
    if wrong:
        holds = (
            f'an object of {short_list(list(found), 6)}'
            if found
            else 'an empty object'
            if data == {}
            else f'a {type(data).__name__}'
        )
        raise SagaError(
            f'{ann_file} is not in COCO format: it holds {holds}, and {" and ".join(wrong)} should be in it as a list '
            f'each. {CORRECT}'
        )
    return found
