"""Layers of the U-shaped trunk: sizes, and a tone that is one of the whole map."""

import pytest
import torch
from torch import nn

from saga_mm.models.enhancement.unet_layers import Downsample, GlobalTone, Lift, LocalBlock, Upsample
from saga_mm.ops import Grid
from saga_mm.rows import MemoryRows, RowRunner


def shaken(layer: nn.Module) -> nn.Module:
    for parameter in layer.double().parameters():
        nn.init.normal_(parameter, std=0.3)
    return layer.eval()


@pytest.mark.parametrize('size', [(6, 8), (5, 7), (1, 1)])
@pytest.mark.parametrize('make', [lambda: Downsample(3, 5), lambda: Downsample(3, 5, 3), lambda: Lift(3, 5)])
def test_half_the_size_rounds_up(make, size):
    layer = shaken(make())
    tokens, grid = layer(torch.rand(2, 3, *size, dtype=torch.float64))
    assert (grid.height, grid.width) == tuple(-(-side // 2) for side in size)
    assert tokens.shape == (2, grid.height * grid.width, 5) and tokens.isfinite().all()


def test_the_last_row_of_an_odd_map_counts_twice():
    layer, x = shaken(Downsample(1, 1)), torch.zeros(1, 1, 3, 2, dtype=torch.float64)
    x[:, :, 2] = 1
    tokens, _ = layer(x)
    torch.testing.assert_close(tokens.flatten()[1], layer.conv.weight.sum() + layer.conv.bias[0])


def test_the_entrance_tells_dark_tones_apart():
    layer = Lift(1, 2)
    assert layer.conv.in_channels == 2
    nn.init.zeros_(layer.conv.weight)
    # the square root alone
    layer.conv.weight.data[:, 1, 1, 1] = 1
    nn.init.zeros_(layer.conv.bias)
    first, second = (layer(torch.full((1, 1, 2, 2), value))[0][0, 0, 0] for value in (0.0, 0.01))
    assert second - first > 0.08


@pytest.mark.parametrize('size', [(6, 4), (5, 3)])
def test_each_token_makes_four_side_by_side(size):
    layer, x = shaken(Upsample(3, 2)), torch.randn(1, 3, 3, 2, dtype=torch.float64)
    out = layer(x, size)
    assert out.shape == (1, 2, *size)
    four = layer.conv(x[:, :, :1, :1]).view(2, 2, 2)
    torch.testing.assert_close(out[0, :, :2, :2], four)


def test_a_tone_is_the_identity_at_first_and_then_one_of_the_whole_map():
    tone, x = GlobalTone(3, 4).double().eval(), torch.randn(2, 3, 11, 6, dtype=torch.float64)
    tokens = x.flatten(2).transpose(1, 2)
    assert torch.equal(tone(tokens, Grid.whole(11, 6)), tokens)
    shaken(tone)
    whole = tone(tokens, Grid.whole(11, 6))
    deviation = tokens.var(1, correction=0).sqrt()
    scale, shift = tone.fc2(tone.act(tone.fc1(torch.cat([tokens.mean(1), deviation], 1)))).unsqueeze(1).chunk(2, 2)
    torch.testing.assert_close(whole, tokens * (1 + scale) + shift)
    # strips of several heights, the last lower
    with torch.no_grad():
        runner = RowRunner(rows=4)
        strips = runner.gather(runner.run(tone.steps, MemoryRows(x.permute(0, 2, 3, 1))))
    torch.testing.assert_close(strips.flatten(2).transpose(1, 2), whole.detach())


@pytest.mark.parametrize('rows', [None, 3])
def test_a_tone_is_exact_where_a_map_is_nearly_constant(rows):
    """Deviations of 0.01 around means of 30: the mean of squares in float32 is less exact than that variance."""
    tone, x = shaken(GlobalTone(3, 4)).float(), 30 + 1e-2 * torch.randn(1, 3, 16, 16)
    merged = tone.merge([tone.write(part.flatten(2).mT, Grid.whole(1, 1)) for part in x.split(rows or 16, dim=2)])
    expected = x.double().flatten(2).var(2, correction=0)
    torch.testing.assert_close(merged.variance.double(), expected, rtol=1e-3, atol=0)


def test_a_tone_of_one_colour_has_finite_gradients():
    tone = shaken(GlobalTone(3, 4)).train()
    x = torch.full((1, 6, 3), 0.5, dtype=torch.float64, requires_grad=True)
    tone(x, Grid.whole(2, 3)).sum().backward()
    assert x.grad.isfinite().all()


def test_a_local_block_in_strips():
    block, x = shaken(LocalBlock(4, 6)), torch.randn(1, 4, 13, 5, dtype=torch.float64)
    with torch.no_grad():
        runner = RowRunner(rows=2)
        strips = runner.gather(runner.run(block.steps, MemoryRows(x.permute(0, 2, 3, 1))))
        whole = block(x.flatten(2).transpose(1, 2), Grid.whole(13, 5))
    torch.testing.assert_close(strips.flatten(2).transpose(1, 2), whole)
