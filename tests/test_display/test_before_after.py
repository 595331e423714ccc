"""A picture before and after: gathered from rows, reduced where it is large."""

import numpy as np
import pytest
from PIL import Image

from saga_mm.display.before_after import GAP, BeforeAfter


@pytest.mark.parametrize('rows', [1, 3, 7, 100])
@pytest.mark.parametrize(('size', 'longest'), [((23, 150), 4096), ((23, 150), 60), ((41, 9), 10)])
def test_rows_of_any_number_make_the_same_picture(rows, size, longest):
    before, after = np.random.default_rng(0).random((2, *size, 3)).astype(np.float32)
    both = BeforeAfter(*size, longest)
    for start in range(0, size[0], rows):
        both.add(before[start : start + rows], after[start : start + rows])
    step = -(-max(size) // longest)
    for half, picture in zip(both.halves, (before, after)):
        assert half.shape == (-(-size[0] // step), -(-size[1] // step), 3) and max(half.shape) <= longest
        for i, j in ((0, 0), (half.shape[0] - 1, half.shape[1] - 1)):
            square = picture[i * step : (i + 1) * step, j * step : (j + 1) * step].mean((0, 1))
            assert np.abs(half[i, j] / 255 - square).max() <= 0.5 / 255 + 1e-6


def test_both_are_drawn_side_by_side_and_keep_the_profile(tmp_path):
    both = BeforeAfter(20, 150)
    both.add(np.zeros((20, 150, 3), np.float32), np.full((20, 150, 3), 2.0, np.float32))
    both.save(tmp_path / 'a.jpg', icc=b'a profile')
    with Image.open(tmp_path / 'a.jpg') as drawn:
        pixels = np.asarray(drawn).astype(int)
        assert drawn.width == 2 * 150 + GAP and drawn.height > 20 and drawn.info['icc_profile'] == b'a profile'
    # what is brighter than white is white
    assert pixels[-10, 75].max() < 8 and pixels[-10, 150 + GAP + 75].min() > 247
