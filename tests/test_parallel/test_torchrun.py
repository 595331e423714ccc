"""A photograph divided among processes that torchrun has started."""

from pathlib import Path

import numpy as np
from PIL import Image

from saga_mm.tasks.enhancement.inferencer import LowLightInferencer


def test_torchrun_divides_a_photograph(tmp_path, forker):
    source, target = tmp_path / 'dark.png', tmp_path / 'bright.png'
    pixels = np.random.default_rng(0).integers(0, 96, (72, 40, 3), dtype=np.uint8)
    Image.fromarray(pixels).save(source)
    words = ['enhance', source, '--out', target, '--weights', 'tiny', '--engine', 'torch']
    said = forker.run(Path(__file__).with_name('two_processes.py'), *words).written('out')
    # the first process speaks for all
    assert said.splitlines()[-1] == '1 done, 0 skipped, 0 failed' and said.count('(40 x 72)') == 1
    alone = LowLightInferencer('tiny', 'cpu', engine='torch')(pixels).astype(int)
    assert np.abs(np.asarray(Image.open(target), int) - alone).max() <= 1
    assert sorted(path.name for path in tmp_path.iterdir()) == ['bright.png', 'dark.png']
