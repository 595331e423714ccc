"""The kernels compile for a GPU, which takes none: what the interpreter accepts, the compiler may refuse."""

import json
import os
from pathlib import Path

import pytest

from saga_mm.ops.triton import available

PROGRAM = Path(__file__).with_name('compile_kernels.py')
WANTED = (
    'write:float32:64:2',
    'write_backward:bfloat16:64:1',
    'read:float16:64:2',
    'read_backward:bfloat16:64:1',
    'add_splits:float32:64:1',
)
# what a program may have on GPUs for the desk
SHARED_BYTES = 99 * 1024


@pytest.mark.skipif(not available(), reason='Triton is not installed')
def test_kernels_compile_for_hopper(tmp_path, bare_forker):
    # the interpreter of other tests must not reach this process
    surroundings = {**os.environ, 'TRITON_CACHE_DIR': str(tmp_path), 'TRITON_INTERPRET': '0'}
    found = json.loads(bare_forker.run(PROGRAM, *WANTED, env=surroundings).written('out'))
    # matrix units multiply; sums over splits need none
    assert [built['products'] > 0 for built in found] == [True] * 4 + [False]
    for built in found:
        assert built['binary_bytes'] > 0
        assert built['shared_bytes'] <= SHARED_BYTES
