"""The convolutional embedding: sizes, the reach that it states, and its layers one by one."""

import pytest
import torch
from torch import nn

from saga_mm.models.backbones.conv_embed import ConvEmbed
from saga_mm.rows import MemoryRows, RowRunner


def build() -> ConvEmbed:
    embed = ConvEmbed((3, 4, 6, 6), (2, 2, 1), {'type': 'BN'}).double().eval()
    for norm in embed.modules():
        if isinstance(norm, nn.BatchNorm2d):
            nn.init.normal_(norm.running_mean)
            nn.init.uniform_(norm.running_var, 0.5, 2)
    return embed


@pytest.mark.parametrize('size', [(16, 12), (13, 9), (1, 1), (4, 5)])
def test_sides_that_a_stride_does_not_divide_round_up(size):
    tokens, grid = build()(torch.randn(2, 3, *size, dtype=torch.float64))
    assert (grid.height, grid.width) == tuple(-(-side // 4) for side in size)
    assert tokens.shape == (2, grid.height * grid.width, 6)


def test_a_token_depends_on_no_more_than_the_stated_reach():
    embed, x = build(), torch.randn(1, 3, 40, 8, dtype=torch.float64, requires_grad=True)
    tokens, grid = embed(x)
    assert (embed.stride, embed.reach) == (4, 1 + 2 + 4)
    tokens.unflatten(1, (grid.height, grid.width))[:, 5].sum().backward()
    rows = x.grad.abs().sum((0, 1, 3)).nonzero().flatten()
    # rows 20 to 23 are its own
    assert rows.min() >= 20 - embed.reach and rows.max() <= 23 + embed.reach
    assert rows.min() == 20 - embed.reach


def test_in_training_it_is_the_same_layer_by_layer_with_statistics_of_all_rows():
    embed, x = build().train(), torch.randn(2, 3, 22, 13, dtype=torch.float64)
    with torch.no_grad():
        tokens, grid = embed(x)
        runner = RowRunner(rows=2, number=8)
        plane = runner.gather(runner.run(embed.steps, MemoryRows(x.permute(0, 2, 3, 1))))
    assert plane.shape[2:] == (grid.height, grid.width)
    torch.testing.assert_close(plane.flatten(2).transpose(1, 2), tokens)


def test_a_norm_that_it_does_not_know():
    with pytest.raises(ValueError, match="unknown norm_cfg type 'LN'; choose one of BN, SyncBN"):
        ConvEmbed((3, 4), (2,), {'type': 'LN'})
