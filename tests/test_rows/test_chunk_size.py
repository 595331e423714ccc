"""Bytes of a chunk: those of the device, or those of a context."""

import pytest
import torch

from saga_mm.rows import RowRunner, bytes_of_chunks, limit_chunks, plan_runner
from saga_mm.rows.passes import Part
from saga_mm.rows.steps import RowStep


class Same(RowStep):
    peak_floats_per_token = 8.0

    def read(self, x, grid, state, keep):
        return x


def test_an_accelerator_takes_more_and_a_context_decides_for_all():
    assert bytes_of_chunks('cuda') > bytes_of_chunks('cpu') == bytes_of_chunks()
    with limit_chunks(1000):
        assert bytes_of_chunks('cuda') == bytes_of_chunks('cpu') == RowRunner().chunk == 1000
        assert plan_runner([Part([Same()], 64, 64)], 1).chunk == 1000
        with limit_chunks(10):
            assert bytes_of_chunks() == 10
        assert bytes_of_chunks() == RowRunner(chunk=1000).chunk == 1000
    assert bytes_of_chunks() > 1000


def test_the_limit_ends_with_an_error():
    usual = bytes_of_chunks()
    with pytest.raises(ZeroDivisionError), limit_chunks(1):
        torch.tensor(1 // 0)
    assert bytes_of_chunks() == usual
