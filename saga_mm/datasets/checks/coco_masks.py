"""Check COCO masks in Python, because pycocotools' C code does not check its input."""

import math
from array import array

import numpy as np


def mask_problem(segmentation: object, height: int, width: int) -> str | None:
    """What is wrong with the ``segmentation`` of an annotation, or None.

    Args:
        segmentation: A list of polygons ``[x1, y1, x2, y2, ...]``, or a run-length dict of ``size`` and ``counts``, the
            counts plain (a list) or compressed (a string).
        height: Height of the image in pixels.
        width: Width of the image in pixels.
    """
    if isinstance(segmentation, dict):
        return _rle_problem(segmentation, height, width)
    if not isinstance(segmentation, list):
        return f'is of type {type(segmentation).__name__}, not a list of polygons or a run-length dict'
    for polygon in segmentation:
        problem = _polygon_problem(polygon, height, width)
        if problem:
            return problem
    # mmdet skips such polygons, but pycocotools fails in the evaluation where the first is one
    if segmentation and len(segmentation[0]) < 6:
        return f'starts with a polygon of {len(segmentation[0])} numbers; three corners need 6 (a box is no polygon)'
    return None


def _polygon_problem(polygon: object, height: int, width: int) -> str | None:
    if not isinstance(polygon, list):
        return 'holds a number where a polygon, a list [x1, y1, x2, y2, ...], is due'
    try:
        points = array('d', polygon)
    except (TypeError, OverflowError):
        return 'has a polygon with something else than numbers'
    if len(points) % 2:
        return f'has a polygon of {len(points)} numbers, an odd count'
    # one pass: a single NaN or infinity makes the sum one
    if not math.isfinite(sum(points)):
        return 'has a polygon with NaN or infinity'
    # pycocotools allocates by the length of the outline
    if points and (
        min(points) < -2 * max(height, width) or max(points[0::2]) > 3 * width or max(points[1::2]) > 3 * height
    ):
        return 'has a polygon far outside the image'
    return None


def _rle_problem(rle: dict, height: int, width: int) -> str | None:
    size, counts = rle.get('size'), rle.get('counts')
    if size != [height, width]:
        return f'has run-length size {size}, its image is listed with [height, width] {[height, width]}'
    if isinstance(counts, str):
        runs = _decode_counts(counts)
    elif isinstance(counts, list) and all(type(count) is int and 0 <= count <= height * width for count in counts):
        runs = np.array(counts, dtype=np.int64)
    else:
        runs = None
    if runs is None or (runs < 0).any():
        return 'has malformed run-length counts'
    if runs.sum() != height * width:
        return f'has run-length counts for {runs.sum()} pixels, the image has {height * width}'
    return None


def _decode_counts(counts: str) -> np.ndarray | None:
    """Run lengths of a compressed string as int64, or None where it is malformed.

    The code is little-endian in groups of five bits, one character each from '0' on: bit 32 says that more follow, bit
    16 of the last is the sign, and from the fourth run on each number is the difference to the last but one.
    """
    if not counts or not counts.isascii():
        return None
    codes = np.frombuffer(counts.encode('ascii'), np.uint8).astype(np.int64) - 48
    # a last character that says that more follow has pycocotools read beyond the string
    if codes.min() < 0 or codes.max() > 63 or codes[-1] & 32:
        return None
    ends = np.flatnonzero(codes & 32 == 0)
    starts = np.concatenate([[0], ends[:-1] + 1])
    lengths = ends - starts + 1
    # seven groups of five bits are more than any image has
    if lengths.max() > 7:
        return None
    shifts = 5 * (np.arange(len(codes)) - np.repeat(starts, lengths))
    runs = np.add.reduceat((codes & 31) << shifts, starts)
    runs -= np.where(codes[ends] & 16, 1 << (5 * lengths), 0)
    # differences to the last but one: odd and even places are summed by themselves
    runs[1::2] = np.cumsum(runs[1::2])
    runs[2::2] = np.cumsum(runs[2::2])
    return runs
