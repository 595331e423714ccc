"""The feed-forward in slices: the equation, any layout and length, and one node to a compiler."""

import pytest
import torch
import torch.nn.functional as F

from saga_mm.ops import add_feed_forward, slices


def numbers(channels: int = 6, hidden: int = 10, dtype: torch.dtype = torch.float64) -> list[torch.Tensor]:
    shapes = [(channels,), (channels,), (hidden, channels), (hidden,), (channels, hidden), (channels,)]
    generator = torch.Generator().manual_seed(0)
    return [torch.randn(shape, generator=generator, dtype=torch.float64).to(dtype) for shape in shapes]


def expected(x: torch.Tensor, scale, shift, weight1, bias1, weight2, bias2) -> torch.Tensor:
    normed = (x - x.mean(-1, keepdim=True)) / (x.var(-1, correction=0, keepdim=True) + 1e-6).sqrt() * scale + shift
    hidden = normed @ weight1.T + bias1
    return x + 0.5 * hidden * (1 + torch.erf(hidden / 2**0.5)) @ weight2.T + bias2


def run(x: torch.Tensor, scale, shift, *layers: torch.Tensor) -> torch.Tensor:
    return add_feed_forward(x, (scale, shift), 1e-6, layers[:2], layers[2:])


@pytest.mark.parametrize('tokens', [1, 99, 100, 201])
def test_slices_follow_the_equation(short_slices, tokens: int):
    x = torch.randn(2, tokens, 6, dtype=torch.float64)
    wanted = expected(x, *numbers())
    found = run(x, *numbers())
    torch.testing.assert_close(found, wanted)
    assert found is x


def test_no_more_than_a_slice_is_wide(monkeypatch):
    seen = []
    monkeypatch.setattr(F, 'layer_norm', lambda x, *args: seen.append(len(x)) or x)
    monkeypatch.setattr(slices, 'SLICE_BYTES', 300 * 10 * 8)
    monkeypatch.setattr(slices, 'FEWEST_TOKENS', 1)
    run(torch.randn(1, 700, 6, dtype=torch.float64), *numbers())
    assert seen == [300, 300, 100]


@pytest.mark.parametrize('dtype', [torch.float32, torch.bfloat16])
def test_types(dtype: torch.dtype):
    x = torch.randn(1, 40, 6).to(dtype)
    wanted = expected(x.double(), *numbers())
    found = run(x.clone(), *numbers(dtype=dtype))
    assert found.dtype == dtype
    assert torch.allclose(found.double(), wanted, rtol=0.05, atol=1e-5 if dtype == torch.float32 else 0.5)


def test_operator_is_one_node():
    x = torch.randn(2, 30, 6, dtype=torch.float64)
    wanted, (scale, shift, *layers) = expected(x, *numbers()), numbers()
    torch.library.opcheck(torch.ops.saga_mm.feed_forward, (x, scale, shift, 1e-6, *layers))
    assert torch.ops.saga_mm.feed_forward(x, scale, shift, 1e-6, *layers) is None
    torch.testing.assert_close(x, wanted)
