"""Count the images that mmdet leaves out of a training in COCO format."""

from collections.abc import Collection, Mapping
from typing import Any

from .coco_records import AnnotationCounts
from .images import ListedImage
from .problems import Problems

OPTION = 'Set train_dataloader.dataset.filter_cfg.'
DROPPED = 'annotations that mmdet drops (outside, below one pixel, no area or marked ignore)'


AREA = 'Write its area, or width x height of its box, into each "area".'


def note_dropped(counts: AnnotationCounts, warnings: Problems) -> None:
    """Note the annotations that training does not see; COCO's evaluation looks for all of them but the crowds."""
    if counts.dropped:
        warnings.add(f'{counts.dropped:,} {DROPPED}', 'See that this is meant.')
    if counts.areas_of_0:
        kind = f'{counts.areas_of_0:,} annotations have an area of 0 and a box with a size'
        warnings.add(f'{kind}: training leaves them out, and an evaluation counts them as missed', AREA)


def note_left_out(
    images: Mapping[int, ListedImage],
    annotations: Collection[Mapping[str, Any]],
    learned: Collection[int],
    filter_cfg: Mapping[str, Any] | None,
    problems: Problems,
    warnings: Problems,
) -> None:
    """Note the images that ``filter_cfg`` of a data set leaves out, and that it leaves none.

    Args:
        images: The listed images, by id.
        annotations: The annotations, all well formed.
        learned: Ids of the categories that are learned.
        filter_cfg: mmdet's option; None leaves nothing out.
        problems: Where to note that no image is left.
        warnings: Where to note images that are left out.
    """
    if not filter_cfg or not images:
        return
    least = filter_cfg.get('min_size', 0)
    # mmdet takes an image for empty whose objects are all of classes that are not learned
    with_objects = {record['image_id'] for record in annotations if record['category_id'] in learned}
    empty = {i for i in images if i not in with_objects} if filter_cfg.get('filter_empty_gt', False) else set()
    small = {i for i, image in images.items() if min(image.width, image.height) < least}
    reasons = (
        (small, f'a side below filter_cfg.min_size={least}', f'min_size={min(least, _smallest(images))}'),
        (empty, 'no object of a class that is learned (filter_cfg.filter_empty_gt=True)', 'filter_empty_gt=False'),
    )
    total = len(images)
    if len(small | empty) == total:
        kinds = ' and '.join(reason for out, reason, _ in reasons if out)
        cures = ' and '.join(cure for out, _, cure in reasons if out)
        kind = f'training would leave out all {total:,} images: they have {kinds}'
        problems.add(kind, f'{OPTION}{cures} to keep them.')
        return
    for out, reason, cure in reasons:
        if out:
            kind = f'training leaves out {len(out):,} of {total:,} images with {reason}'
            warnings.add(kind, f'{OPTION}{cure} to keep them.')


def _smallest(images: Mapping[int, ListedImage]) -> int:
    return min(min(image.width, image.height) for image in images.values())
