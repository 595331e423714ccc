"""A photograph divided among processes that torchrun has started."""

import os
import subprocess
import sys

import numpy as np
from PIL import Image

from saga_mm.tasks.enhancement.inferencer import LowLightInferencer

TORCHRUN = [sys.executable, '-m', 'torch.distributed.run', '--standalone', '--nproc-per-node', '2']


def test_torchrun_divides_a_photograph(tmp_path):
    source, target = tmp_path / 'dark.png', tmp_path / 'bright.png'
    pixels = np.random.default_rng(0).integers(0, 96, (72, 40, 3), dtype=np.uint8)
    Image.fromarray(pixels).save(source)
    words = ['-m', 'saga_mm', 'enhance', str(source), '--out', str(target), '--weights', 'tiny', '--engine', 'torch']
    done = subprocess.run(
        [*TORCHRUN, *words], capture_output=True, text=True, env={**os.environ, 'OMP_NUM_THREADS': '1'}
    )
    assert done.returncode == 0, done.stderr[-2000:]
    # the first process speaks for all
    assert done.stdout.splitlines()[-1] == '1 done, 0 skipped, 0 failed' and done.stdout.count('(40 x 72)') == 1
    alone = LowLightInferencer('tiny', 'cpu', engine='torch')(pixels).astype(int)
    assert np.abs(np.asarray(Image.open(target), int) - alone).max() <= 1
    assert sorted(path.name for path in tmp_path.iterdir()) == ['bright.png', 'dark.png']
