"""Find pictures and annotations that a COCO file lists more than once."""

from collections import Counter
from collections.abc import Iterable, Mapping
from typing import Any

from .images import ListedImage
from .problems import Problems


def note_repeats(images: Mapping[int, ListedImage], annotations: Iterable[Any], warnings: Problems) -> None:
    """Note pictures under several ids, and annotations of the same picture, class and box.

    Args:
        images: The listed images, by id.
        annotations: The annotations; malformed ones are passed over.
        warnings: Where to note them.
    """
    cure = 'It is trained on and counted each time; list it once.'
    for name, count in Counter(image.name for image in images.values()).items():
        if count > 1:
            warnings.add('picture listed more than once', cure, f'{name} ({count} times)')
    seen = Counter(filter(None, map(_object, annotations)))
    if repeated := sum(seen.values()) - len(seen):
        first = next(key for key, count in seen.items() if count > 1)
        name = images[first[0]].name if first[0] in images else first[0]
        kind = f'{repeated:,} annotations repeat another of the same picture, class and box, the first in {name}'
        warnings.add(kind, 'One object is found once, so that figures become too low; remove them.')


def _object(record: Any) -> tuple[Any, ...] | None:
    """Picture, class and box of an annotation; None if it is malformed."""
    if not isinstance(record, Mapping) or not isinstance(record.get('bbox'), list):
        return None
    key = record.get('image_id'), record.get('category_id'), *record['bbox'], bool(record.get('iscrowd'))
    try:
        hash(key)
    except TypeError:
        return None
    return key
