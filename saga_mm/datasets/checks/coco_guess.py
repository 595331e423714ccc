"""Recognise boxes in another convention than COCO's, by image borders, masks and areas."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np

from .images import ListedImage
from .problems import Problems

# annotations that are looked at, evenly spread
LOOKED_AT = 5000
MEANT = 'COCO means x, y, width, height in pixels. See the drawings of tools/check_dataset.py.'
EXCHANGED = 'of images whose width and height are exchanged'
# how else a box may be meant; boxes (n, 4) and sizes (n, 2) of the images make x, y, width, height
READINGS: dict[str, Callable[[np.ndarray, np.ndarray], np.ndarray]] = {
    'x1, y1, x2, y2': lambda b, s: np.hstack([b[:, :2], b[:, 2:] - b[:, :2]]),
    'centre x, centre y, width, height': lambda b, s: np.hstack([b[:, :2] - b[:, 2:] / 2, b[:, 2:]]),
    'y, x, height, width': lambda b, s: b[:, [1, 0, 3, 2]],
    'y1, x1, y2, x2': lambda b, s: np.hstack([b[:, [1, 0]], b[:, [3, 2]] - b[:, [1, 0]]]),
    'x, y, height, width': lambda b, s: b[:, [0, 1, 3, 2]],
    'x, y, width, height with y counted from below': lambda b, s: np.stack(
        [b[:, 0], s[:, 1] - b[:, 1] - b[:, 3], b[:, 2], b[:, 3]], 1
    ),
    'x, y, width, height with the lower left corner': lambda b, s: np.stack(
        [b[:, 0], b[:, 1] - b[:, 3], b[:, 2], b[:, 3]], 1
    ),
    'percent of the width and height': lambda b, s: b / 100 * np.hstack([s, s]),
    'of pictures twice as large': lambda b, s: b / 2,
    'of pictures half as large': lambda b, s: b * 2,
}


@dataclass
class Evidence:
    """What there is to judge boxes by; lists of equal length.

    Attributes:
        boxes: As they stand in the file.
        sizes: ``(width, height)`` of their images.
        areas: As they stand in the file.
        extents: ``(x1, y1, x2, y2)`` of their polygons; NaN where there are none.
    """

    boxes: list[list[float]] = field(default_factory=list)
    sizes: list[tuple[int, int]] = field(default_factory=list)
    areas: list[float] = field(default_factory=list)
    extents: list[tuple[float, ...]] = field(default_factory=list)

    def add(self, record: dict, image: ListedImage) -> None:
        """Note an annotation that is well formed."""
        if record.get('iscrowd'):
            return
        self.boxes.append(record['bbox'])
        self.sizes.append((image.width, image.height))
        self.areas.append(record['area'])
        self.extents.append(_extent(record.get('segmentation')))


def note_doubts(evidence: Evidence, problems: Problems, warnings: Problems) -> None:
    """Note what boxes and masks seem to be instead of what COCO means, with the best guess."""
    if not evidence.boxes:
        return
    boxes, sizes = np.array(evidence.boxes, np.float64), np.array(evidence.sizes, np.float64)
    areas, extents = np.array(evidence.areas, np.float64), np.array(evidence.extents, np.float64)
    count = len(boxes)
    fractions = (boxes.max(1) <= 1.001) & (boxes.min(1) >= 0) & (sizes.min(1) > 2)
    if 2 * fractions.sum() > count:
        kind = f'{fractions.sum():,} of {count:,} boxes hold numbers of 0 to 1; are they fractions of width and height?'
        problems.add(kind, f'Multiply them by the size of the image. {MEANT}')
        return
    _note_mask_fractions(boxes, sizes, extents, problems)
    beyond = ~_inside(boxes, sizes)
    guess, wrong = _by_masks(boxes, sizes, extents)
    guess, wrong = (guess, wrong) if guess else _by_areas(boxes, areas)
    if not guess:
        right = 2 * (_overlap(boxes, extents) > 0.8).sum() > count
        guess, wrong = _by_borders(boxes, sizes, beyond, right), beyond
    wrong = wrong | beyond
    asked = f'; are they {guess}?' if guess else ''
    if beyond.any():
        # more boxes than those that reach out may be meant so
        shown = wrong if not guess else beyond
        warnings.add(f'{shown.sum():,} of {count:,} boxes reach beyond the image{asked}', MEANT)
    elif guess:
        warnings.add(f'{wrong.sum():,} of {count:,} boxes do not fit their masks or areas{asked}', MEANT)
    else:
        _note_rest(boxes, sizes, areas, extents, warnings)


def _note_mask_fractions(boxes: np.ndarray, sizes: np.ndarray, extents: np.ndarray, problems: Problems) -> None:
    with np.errstate(invalid='ignore'):
        fractions = (extents.max(1) <= 1.001) & (extents.min(1) >= 0) & (boxes[:, 2:].max(1) > 2)
    known = ~np.isnan(extents[:, 0])
    if 2 * fractions.sum() > known.sum():
        kind = f'{fractions.sum():,} of {known.sum():,} masks hold polygons of 0 to 1; are they fractions of the image?'
        problems.add(kind, 'Multiply x by the width and y by the height of the image.')
        extents[fractions] *= np.hstack([sizes, sizes])[fractions]


def _by_masks(boxes: np.ndarray, sizes: np.ndarray, extents: np.ndarray) -> tuple[str, np.ndarray]:
    """A reading by which boxes enclose their masks where they do not as they stand, and which boxes these are."""
    wide = np.nan_to_num(extents[:, 2:] - extents[:, :2])
    # the box of a tiny mask is off by a rounding alone
    judged = wide.min(1) >= 4
    now = _overlap(boxes, extents)
    best, found = '', np.zeros(len(boxes), bool)
    for name, read in READINGS.items():
        fits = judged & (_overlap(read(boxes, sizes), extents) > 0.9)
        plainly, rather = fits & (now < 0.5), fits & (now < 0.8)
        # a few boxes count where they fit plainly better; slightly better only if most do
        better = rather if 2 * rather.sum() > judged.sum() else plainly
        if better.sum() > max(found.sum(), 0.02 * judged.sum()):
            best, found = name, better
    return best, found


def _by_areas(boxes: np.ndarray, areas: np.ndarray) -> tuple[str, np.ndarray]:
    """Corners whose areas are those between them."""
    corners = np.prod(boxes[:, 2:] - boxes[:, :2], axis=1)
    fits = (boxes[:, 2:] > boxes[:, :2]).all(1) & (np.abs(areas - corners) < 0.01 * areas)
    # boxes near the upper left corner are the same in both readings
    fits &= np.abs(areas - np.prod(boxes[:, 2:], axis=1)) > 0.05 * areas
    return ('x1, y1, x2, y2', fits) if fits.sum() >= 3 and 2 * fits.sum() > len(boxes) else ('', fits)


def _by_borders(boxes: np.ndarray, sizes: np.ndarray, beyond: np.ndarray, right: bool) -> str:
    """A reading by which boxes stay inside their images of which many do not as they stand.

    Where boxes are ``right`` by their masks, it is the sizes of the images that are not.
    """
    if beyond.sum() < max(1, 0.05 * len(boxes)):
        return ''
    if right:
        return EXCHANGED if _inside(boxes, sizes[:, ::-1]).mean() > 0.99 else ''
    for name, read in READINGS.items():
        meant = read(boxes, sizes)
        if (_inside(meant, sizes) & (meant[:, 2:] > 0).all(1)).mean() > 0.99:
            return name
    return ''


def _note_rest(
    boxes: np.ndarray, sizes: np.ndarray, areas: np.ndarray, extents: np.ndarray, warnings: Problems
) -> None:
    """Boxes of another scale, and boxes that fit neither their masks nor their areas in any way that is known."""
    count = len(boxes)
    far = (boxes[:, :2] + boxes[:, 2:]).max(0)
    share = ((boxes[:, :2] + boxes[:, 2:]) / sizes).max()
    products = np.prod(boxes[:, 2:], axis=1)
    larger = areas > 1.05 * products + 4
    grown = np.hstack([boxes[:, :2], boxes[:, :2] + boxes[:, 2:]])
    slack = 2 + 0.1 * boxes[:, 2:]
    with np.errstate(invalid='ignore'):
        outside = (extents[:, :2] < grown[:, :2] - slack) | (extents[:, 2:] > grown[:, 2:] + slack)
    outside = outside.any(1)
    if 2 * outside.sum() > max(1, (~np.isnan(extents[:, 0])).sum()):
        warnings.add(f'{outside.sum():,} of {count:,} boxes do not enclose their own masks', MEANT)
    elif 2 * larger.sum() > count:
        ratio = float(np.median(areas[larger] / np.maximum(products[larger], 1e-9)))
        kind = f'{larger.sum():,} of {count:,} areas are larger than their boxes, by {ratio:.3g} times'
        warnings.add(f'{kind}; are the boxes of pictures of another size?', MEANT)
    elif count >= 10 and far.max() <= 100.5 and sizes.min() > 200:
        kind = f'all {count:,} boxes lie within 100 pixels from the upper left corner; are they percent of the image?'
        warnings.add(kind, MEANT)
    elif count >= 10 and share <= 0.55:
        kind = f'all {count:,} boxes lie in the upper left {share:.0%} of their images'
        warnings.add(f'{kind}; are they of pictures of a smaller size?', MEANT)


def _inside(boxes: np.ndarray, sizes: np.ndarray) -> np.ndarray:
    # tools that count pixels from 1, or round up, reach out by one
    slack = 1 + 0.01 * sizes
    return ((boxes[:, :2] >= -slack) & (boxes[:, :2] + boxes[:, 2:] <= sizes + slack)).all(1)


def _overlap(boxes: np.ndarray, extents: np.ndarray) -> np.ndarray:
    """Intersection over union of boxes ``x, y, width, height`` with ``x1, y1, x2, y2``; 0 where there is none."""
    ends = boxes[:, :2] + boxes[:, 2:]
    inner = np.prod((np.minimum(ends, extents[:, 2:]) - np.maximum(boxes[:, :2], extents[:, :2])).clip(0), axis=1)
    union = np.prod(boxes[:, 2:], axis=1) + np.prod(extents[:, 2:] - extents[:, :2], axis=1) - inner
    with np.errstate(invalid='ignore', divide='ignore'):
        shares = np.nan_to_num(inner / union)
    return np.where((boxes[:, 2:] > 0).all(1), shares, 0)


def _extent(segmentation: object) -> tuple[float, ...]:
    polygons = [polygon for polygon in segmentation if polygon] if isinstance(segmentation, list) else []
    if not polygons:
        return (np.nan,) * 4
    xs, ys = ([value for polygon in polygons for value in polygon[start::2]] for start in (0, 1))
    return min(xs), min(ys), max(xs), max(ys)
