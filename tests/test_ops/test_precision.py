"""Sums over tokens stay exact, whatever the type of the tokens and whatever autocast is on."""

import pytest
import torch

from saga_mm.ops import number_bytes, wide
from saga_mm.ops.precision import full_precision


@pytest.mark.parametrize(
    ('dtype', 'kept', 'size'),
    [
        (torch.float16, torch.float32, 3),
        (torch.bfloat16, torch.float32, 3),
        (torch.float32, torch.float32, 4),
        (torch.float64, torch.float64, 8),
    ],
    ids=str,
)
def test_types(dtype, kept, size):
    x = torch.ones(2, dtype=dtype)
    assert wide(x).dtype == kept and number_bytes(dtype) == size
    assert wide(wide(x)) is wide(x) or dtype.itemsize == 2


def test_autocast_is_off_for_a_while():
    x = torch.randn(4, 4)
    with torch.autocast('cpu', dtype=torch.bfloat16):
        with full_precision('cpu'):
            assert (x @ x).dtype == torch.float32
        assert (x @ x).dtype == torch.bfloat16
    with full_precision('meta'):
        assert (torch.empty(2, 2, device='meta') @ torch.empty(2, 2, device='meta')).shape == (2, 2)
