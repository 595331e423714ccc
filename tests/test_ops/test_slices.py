"""Slices of few tokens: how long they are, and a norm that needs no second map."""

import pytest
import torch
import torch.nn.functional as F

from saga_mm.ops import norm_in_place, slices


@pytest.fixture(autouse=True)
def small(monkeypatch):
    monkeypatch.setattr(slices, 'SLICE_BYTES', 4 * 8 * 100 * 6)
    monkeypatch.setattr(slices, 'FEWEST_TOKENS', 7)


@pytest.mark.parametrize(('width', 'length'), [(24, 100), (48, 50), (5000, 7)])
def test_bytes_and_a_fewest_number_of_tokens(width: int, length: int):
    assert slices.slice_length(torch.empty(0, dtype=torch.float64), width) == length


@pytest.mark.parametrize('strided', [False, True])
@pytest.mark.parametrize('tokens', [1, 100, 250])
def test_norm_in_place(monkeypatch, tokens: int, strided: bool):
    x, scale, shift = torch.randn(2, tokens, 6, dtype=torch.float64), torch.randn(6).double(), torch.randn(6).double()
    if strided:
        x = x.transpose(1, 2).contiguous().transpose(1, 2)
    wanted, seen, norm = F.layer_norm(x, (6,), scale, shift, 1e-5), [], F.layer_norm
    monkeypatch.setattr(F, 'layer_norm', lambda x, *args: seen.append(len(x)) or norm(x, *args))
    assert norm_in_place(x, scale, shift, 1e-5) is x
    torch.testing.assert_close(x, wanted)
    assert max(seen) <= 100 and sum(seen) == 2 * tokens


def test_the_norm_is_one_node_to_a_compiler():
    x, scale, shift = (torch.randn(shape, dtype=torch.float64) for shape in ((2, 250, 6), (6,), (6,)))
    wanted = F.layer_norm(x, (6,), scale, shift, 1e-5)
    torch.library.opcheck(torch.ops.saga_mm.norm_in_place, (x.clone(), scale, shift, 1e-5))
    assert torch.ops.saga_mm.norm_in_place(x, scale, shift, 1e-5) is None
    torch.testing.assert_close(x, wanted)
