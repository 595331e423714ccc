"""A photograph of bands that several processes computed."""

import cv2
import numpy as np
import pytest

from saga_mm.images.photo import PhotoRows
from saga_mm.tasks.enhancement.shared_photo import _join


@pytest.mark.parametrize(('name', 'said'), [('b.png', ''), ('b.jpg', '16 bits became 8 bits')])
def test_what_the_file_does_not_hold_is_said(tmp_path, name, said):
    pixels = np.random.default_rng(0).integers(0, 2**16, (20, 30, 3)).astype(np.uint16)
    cv2.imwrite(str(tmp_path / 'a.png'), pixels)
    parts = [tmp_path / 'above', tmp_path / 'below']
    for part, rows in zip(parts, (pixels[:8], pixels[8:])):
        part.write_bytes(np.ascontiguousarray(rows[..., ::-1]).tobytes())
    with PhotoRows(tmp_path / 'a.png') as photo:
        assert _join(photo, parts, np.dtype(np.uint16), tmp_path / name, None, True) == said
    if name == 'b.png':
        assert np.array_equal(cv2.imread(str(tmp_path / name), cv2.IMREAD_UNCHANGED), pixels)
