"""``--max-memory`` from file to file: the most that a process held, beside what it was allowed."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

TINY = Path(__file__).parents[1] / 'tiny_segmentation.py'
pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not Path('/proc/self/status').exists(), reason='peaks are read from /proc'),
]


def save(folder: Path, *sizes: tuple[int, int]) -> Path:
    (folder / 'in').mkdir()
    exif = Image.Exif()
    exif[0x0112] = 6
    for height, width in sizes:
        pixels = np.add.outer(np.arange(height) // 7, np.arange(width) // 5)[..., None] * np.array([1, 2, 3])
        image = Image.fromarray((pixels % 97).astype(np.uint8))
        image.save(folder / 'in' / f'{height}.png', compress_level=1)
        image.save(folder / 'in' / f'{height}.jpg', exif=exif)
    return folder / 'in'


def test_segmentation_of_several_sizes_stays_within_what_was_named_as_enough(segmented, tmp_path, run_within_memory):
    pictures, weights = save(tmp_path, (300, 400), (500, 720)), segmented / 'work_dirs/tiny_segmentation/epoch_2.pth'
    words = ['predict.py', TINY, weights, pictures, '--out', 'out', '--engine', 'torch']
    assert '4 pictures segmented' in run_within_memory(40, *words, cwd=tmp_path)
