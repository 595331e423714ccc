"""Resizing and pooling of whole maps, by rows."""

import itertools

import pytest
import torch
import torch.nn.functional as F

from saga_mm.ops import Grid, RowPool, map_to_tokens, resize_rows

SIZES = [
    ((7, 5), (33, 17)),
    ((33, 17), (7, 5)),
    ((1, 1), (9, 4)),
    ((9, 4), (1, 1)),
    ((56, 3), (300, 2)),
    ((20, 3),) * 2,
]


@pytest.mark.parametrize(('dtype', 'tolerance'), [(torch.float64, 1e-12), (torch.float32, 1e-6)], ids=str)
@pytest.mark.parametrize('align_corners', [False, True])
@pytest.mark.parametrize(('size', 'out_size'), SIZES, ids=str)
def test_rows_of_a_resized_map(size, out_size, align_corners, dtype, tolerance):
    torch.manual_seed(0)
    x = torch.rand(2, 3, *size, dtype=dtype)
    whole = F.interpolate(x, out_size, mode='bilinear', align_corners=align_corners)
    asked = []

    def read(start: int, stop: int) -> torch.Tensor:
        asked.append(stop - start)
        return x[:, :, start:stop]

    for rows in (1, 4, 100):
        for start in range(0, out_size[0], rows):
            stop = min(start + rows, out_size[0])
            part = resize_rows(read, size, out_size, start, stop, align_corners)
            assert (part - whole[:, :, start:stop]).abs().max() <= tolerance
        # the rows between the outermost, those around them, and one more on each side
        assert max(asked) <= rows * size[0] / out_size[0] + 6
        asked.clear()


def test_rows_of_a_map_resized_to_its_own_size_are_its_own():
    x = torch.rand(1, 2, 9, 4)
    part = resize_rows(lambda start, stop: x[:, :, start:stop], (9, 4), (9, 4), 3, 6)
    assert torch.equal(part, x[:, :, 3:6])


@pytest.mark.parametrize('out_size', [1, 2, 3, 6, (4, 3), (9, 11)])
@pytest.mark.parametrize('size', [(7, 5), (6, 12), (1, 3), (23, 8)], ids=str)
@pytest.mark.parametrize('rows', [1, 3, 50])
def test_adaptive_pooling(size, out_size, rows):
    torch.manual_seed(0)
    x = torch.randn(2, 3, *size, dtype=torch.float64)
    pool = RowPool(out_size)
    cuts = [*range(0, size[0], rows), size[0]]
    states = [pool.write(map_to_tokens(x[:, :, i:j]), Grid(*size, i, j)) for i, j in itertools.pairwise(cuts)]
    assert torch.allclose(pool.merge(states[::-1]), F.adaptive_avg_pool2d(x, out_size), rtol=1e-12, atol=1e-14)


def test_pooling_of_half_precision_sums_in_full():
    x = torch.full((1, 1, 300, 300), 300.0, dtype=torch.float16)
    pooled = RowPool(1).write(map_to_tokens(x), Grid.whole(300, 300))
    assert pooled.dtype == torch.float32 and pooled.item() == pytest.approx(300)
