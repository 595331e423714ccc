import re

import numpy as np
import pytest
from pycocotools import mask as coco_mask

from saga_mm.datasets.checks.coco_masks import mask_problem

HEIGHT, WIDTH = 37, 53


def rle(counts: object, size: object = (HEIGHT, WIDTH)) -> dict:
    return {'size': list(size), 'counts': counts}


@pytest.mark.parametrize('seed', range(20))
def test_masks_that_pycocotools_writes_are_fine(seed: int):
    rng = np.random.default_rng(seed)
    mask = np.asfortranarray(rng.random((HEIGHT, WIDTH)) < rng.random() ** 2, dtype=np.uint8)
    compressed = coco_mask.encode(mask)['counts'].decode()
    flat = mask.flatten(order='F')
    changes = np.flatnonzero(np.diff(np.concatenate([[0], flat])))
    plain = np.diff(np.concatenate([[0], changes, [flat.size]])).tolist()
    assert mask_problem(rle(compressed), HEIGHT, WIDTH) is None
    assert mask_problem(rle(plain), HEIGHT, WIDTH) is None


def test_large_runs_are_fine():
    mask = np.zeros((5000, 7000), np.uint8, order='F')
    mask[10:4990, 3:6900] = 1
    compressed = coco_mask.encode(mask)['counts'].decode()
    assert mask_problem(rle(compressed, mask.shape), *mask.shape) is None


@pytest.mark.parametrize(
    'segmentation',
    [
        [[0, 0, 10, 0, 10, 10]],
        [[0.5, 0.5, 60, 0, 10, 10.25], [1, 1, 2, 2, 3, 1]],
        [[0, 0, 10, 0, 10, 10], [1, 1, 2, 2]],
    ],
)
def test_polygons_are_fine(segmentation: list):
    assert mask_problem(segmentation, HEIGHT, WIDTH) is None


@pytest.mark.parametrize(
    ('segmentation', 'message'),
    [
        ('abc', 'is of type str'),
        (7, 'is of type int'),
        ([1, 2, 3, 4, 5, 6], 'holds a number'),
        ([['1', '2', '3', '4', '5', '6']], 'something else than numbers'),
        ([[1, 2, None, 4, 5, 6]], 'something else than numbers'),
        ([[10**400, 2, 3, 4, 5, 6]], 'something else than numbers'),
        ([[1, 2, 3, 4, 5, 6, 7]], 'odd count'),
        ([[1, 2, float('nan'), 4, 5, 6]], 'NaN'),
        ([[1, 2, float('inf'), 4, 5, 6]], 'NaN or infinity'),
        ([[0, 0, 1e9, 0, 5, 6]], 'far outside'),
        ([[0, 0, 5, 0, 5, -1e9]], 'far outside'),
        ([[0, 0, 10, 10]], 'three corners'),
        ([[]], 'three corners'),
        ({}, 'run-length size None'),
        (
            rle('x', (WIDTH, HEIGHT)),
            r'run-length size \[53, 37\], its image is listed .* \[37, 53\]',
        ),
        (rle(None), 'malformed run-length counts'),
        (rle(''), 'malformed'),
        (rle('\x00\x01'), 'malformed'),
        (rle('naïve'), 'malformed'),
        (rle('o'), 'malformed'),
        (rle('oooooooooo0'), 'malformed'),
        (rle('zzzz\x7f'), 'malformed'),
        (rle('O'), 'malformed'),
        (rle('55'), 'counts for 10 pixels, the image has 1961'),
        (rle([-5, HEIGHT * WIDTH + 5]), 'malformed'),
        (rle([0.5, 1.5]), 'malformed'),
        (rle([10**30]), 'malformed'),
        (rle([5, 10]), 'counts for 15 pixels'),
    ],
)
def test_malformed_masks_are_told(segmentation: object, message: str):
    assert re.search(message, mask_problem(segmentation, HEIGHT, WIDTH))


def test_whatever_passes_is_safe_to_decode():
    rng = np.random.default_rng(0)
    mask = np.asfortranarray(rng.random((HEIGHT, WIDTH)) < 0.1, dtype=np.uint8)
    counts = coco_mask.encode(mask)['counts']
    passed = 0
    for _ in range(2000):
        changed = bytearray(counts)
        for _ in range(rng.integers(1, 3)):
            changed[rng.integers(len(changed))] = rng.integers(40, 120)
        text = changed.decode('ascii')
        if mask_problem(rle(text), HEIGHT, WIDTH) is None:
            passed += 1
            assert coco_mask.decode(rle(text)).shape == (HEIGHT, WIDTH)
    assert passed > 5
