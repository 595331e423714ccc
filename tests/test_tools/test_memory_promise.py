"""``--max-memory`` from file to file: the most that a process held, beside what it was allowed."""

import os
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

ROOT = Path(__file__).parents[2]
TINY = ROOT / 'tests' / 'tiny_segmentation.py'
pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not Path('/proc/self/status').exists(), reason='peaks are read from /proc'),
]


def measure(folder: Path, tool: str, *words: object) -> tuple[str, int]:
    """What a tool said, and the megabytes that it held at most."""
    peak = folder / 'peak'
    command = [sys.executable, '-m', 'campaign.measured', peak, ROOT / 'tools' / tool, *words, '--engine', 'torch']
    environment = {**os.environ, 'PYTHONPATH': str(ROOT), 'OMP_NUM_THREADS': '1'}
    done = subprocess.run(
        [str(word) for word in command], capture_output=True, text=True, cwd=folder, env=environment, check=False
    )
    return done.stdout + done.stderr, int(peak.read_text()) / 2**20


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


def test_segmentation_of_several_sizes_stays_within_what_was_named_as_enough(segmented, tmp_path):
    pictures, weights = save(tmp_path, (700, 900), (1100, 1600)), segmented / 'work_dirs/tiny_segmentation/epoch_2.pth'
    words = ['predict.py', TINY, weights, pictures, '--out', 'out', '--max-memory']
    said, _ = measure(tmp_path, *words, '1MB')
    enough = max(int(size) for size in re.findall(r'smallest that works is (\d+)MB', said)) + 40
    said, held = measure(tmp_path, *words, f'{enough}MB')
    assert '4 pictures segmented' in said, said
    assert held <= enough
