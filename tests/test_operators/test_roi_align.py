import math

import pytest
import torch

from saga_mm.errors import ArgumentError
from saga_mm.operators.roi_align import roi_align

ROIS = torch.tensor(
    [
        [1, 0.3, 1.2, 6.1, 4.9],
        [0, -4.0, -3.0, 3.5, 2.5],
        [1, 5.0, 3.0, 14.0, 9.0],
        [0, 2.0, 2.0, 2.0, 2.0],
        [0, 20.0, 20.0, 30.0, 25.0],
    ],
    dtype=torch.float64,
)


def bilinear(image: torch.Tensor, y: float, x: float) -> torch.Tensor:
    height, width = image.shape[1:]
    if not (-1 <= y <= height and -1 <= x <= width):
        return torch.zeros(len(image), dtype=image.dtype)
    y, x = min(max(y, 0), height - 1), min(max(x, 0), width - 1)
    top, left = min(int(y), max(height - 2, 0)), min(int(x), max(width - 2, 0))
    bottom, right = min(top + 1, height - 1), min(left + 1, width - 1)
    v, u = y - top, x - left
    above = image[:, top, left] * (1 - u) + image[:, top, right] * u
    below = image[:, bottom, left] * (1 - u) + image[:, bottom, right] * u
    return above * (1 - v) + below * v


def plain_roi_align(maps, rois, size, scale, samples, aligned) -> torch.Tensor:
    out = []
    for image, *box in rois.tolist():
        x1, y1, x2, y2 = (side * scale - 0.5 * aligned for side in box)
        sides = [y2 - y1, x2 - x1] if aligned else [max(y2 - y1, 1), max(x2 - x1, 1)]
        bin_h, bin_w = sides[0] / size[0], sides[1] / size[1]
        down, across = (samples or math.ceil(side) for side in (bin_h, bin_w))
        for row in range(size[0]):
            for column in range(size[1]):
                points = [
                    (y1 + (row + (i + 0.5) / down) * bin_h, x1 + (column + (j + 0.5) / across) * bin_w)
                    for i in range(down)
                    for j in range(across)
                ]
                values = [bilinear(maps[int(image)], *point) for point in points]
                out.append(sum(values) / len(values) if values else maps.new_zeros(maps.shape[1]))
    return torch.stack(out).view(len(rois), *size, -1).permute(0, 3, 1, 2)


@pytest.mark.parametrize('shape', [(2, 3, 5, 8), (2, 1, 1, 7), (2, 2, 6, 1)])
@pytest.mark.parametrize('aligned', [True, False])
@pytest.mark.parametrize(('size', 'scale', 'samples'), [((2, 3), 1.0, 0), ((3, 1), 0.5, 0), ((2, 2), 1.3, 2)])
@pytest.mark.parametrize('limit', [2**24, 1])
def test_as_sample_by_sample(shape, aligned, size, scale, samples, limit):
    maps = torch.randn(shape, dtype=torch.float64, requires_grad=True)
    answer = roi_align(maps, ROIS, size, scale, samples, aligned, limit)
    expected = plain_roi_align(maps, ROIS, size, scale, samples, aligned)
    torch.testing.assert_close(answer, expected)
    weights = torch.randn_like(expected)
    gradients = [torch.autograd.grad(out, maps, weights)[0] for out in (answer, expected)]
    torch.testing.assert_close(*gradients)


def test_gradient():
    maps = torch.randn(2, 2, 4, 5, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(lambda x: roi_align(x, ROIS, (2, 2)), maps)


def test_nothing_to_sample_has_a_gradient_of_zeros():
    maps = torch.randn(1, 2, 3, 3, requires_grad=True)
    for rois in (torch.zeros(0, 5), torch.zeros(2, 5)):
        bins = roi_align(maps, rois, (2, 2))
        assert bins.shape == (len(rois), 2, 2, 2) and not bins.any()
        assert not torch.autograd.grad(bins.sum(), maps)[0].any()


@pytest.mark.parametrize('image', [-1, 2])
def test_image_that_is_not_there(image):
    with pytest.raises(ArgumentError, match=r'rois=.*the first column names images, and there are 2'):
        roi_align(torch.ones(2, 1, 3, 3), torch.tensor([[image, 0, 0, 2, 2.0]]), (1, 1))
