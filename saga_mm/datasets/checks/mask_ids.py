"""Recognise masks with wrong ids: black and white, or off by one."""

from __future__ import annotations

from collections.abc import Sequence

from .problems import Problems
from .segmentation_folders import SegmentationFolders

SAVE_AS_1 = 'Save the object as 1, such as by mask[mask == {}] = 1.'


def note_ids(
    folders: SegmentationFolders, seen: Sequence[frozenset[int]], problems: Problems, warnings: Problems
) -> None:
    """Note what the ids of all masks together seem to be instead of those of classes.

    Args:
        folders: What the data set makes of ids.
        seen: The ids that occur in each mask.
        problems: Where to note what makes a training worthless.
        warnings: Where to note masks that differ from the others.
    """
    number, labels = len(folders.classes), folders.labels
    all_ids = frozenset().union(*seen)
    others = sorted(all_ids - {0})
    if 0 in all_ids and len(others) == 1 and number > 1 and (labels[others[0]] == -1 or labels[others[0]] == number):
        value = others[0]
        learned = 'is not learned' if labels[value] == -1 else 'is no class'
        kind = f'all {len(seen):,} masks hold 0 and {value} alone, and {value} {learned}'
        problems.add(kind, SAVE_AS_1.format(value))
        return
    # 1 to n where 0 to n - 1 are classes: without an id 0, and with one too many at the end
    beyond = sorted(i for i in all_ids if labels[i] == number)
    if beyond and 0 not in all_ids and labels[0] == 0 and beyond == [number]:
        kind = f'ids run from {min(all_ids)} to {number}, and {number} classes are numbered from 0; are they one off?'
        problems.add(kind, 'Subtract 1 from the ids, or name what id 0 is before the other classes.')
    _note_mixture(folders, seen, warnings)


def _note_mixture(folders: SegmentationFolders, seen: Sequence[frozenset[int]], warnings: Problems) -> None:
    """Note masks of 0 and 255 among others in which 255 is no border of objects."""
    ignored = {i for i in range(256) if folders.labels[i] == -1}
    with_objects = [ids for ids in seen if ids - ignored - {0}]
    if 255 not in ignored or 0 in ignored or 2 * sum(255 in ids for ids in with_objects) > len(with_objects):
        return
    count = sum(255 in ids and ids <= {0, 255} for ids in seen)
    # where all are such, other lines say so
    if 0 < count < len(seen):
        kind = f'{count:,} of {len(seen):,} masks hold 0 and 255 alone, and the others classes'
        warnings.add(kind, f'255 is not learned. If it is an object there: {SAVE_AS_1.format(255)}')
