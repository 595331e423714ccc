"""Pyramids of one map."""

import pytest
import torch

from saga_mm.models.necks import SimplePyramid


def test_sizes_of_a_rectangle():
    neck = SimplePyramid(16, 12, num_outs=5)
    outs = neck([torch.randn(1, 8, 3, 3), torch.randn(2, 16, 5, 7)])
    assert [out.shape for out in outs] == [(2, 12, h, w) for h, w in ((20, 28), (10, 14), (5, 7), (3, 4), (2, 2))]
    sum(out.square().mean() for out in outs).backward()
    assert all(p.grad is not None for p in neck.parameters())


def test_levels_are_normed_over_channels():
    out = SimplePyramid(16, 12, scales=(2,))([torch.randn(1, 16, 4, 3)])[0]
    torch.testing.assert_close(out.mean(1), torch.zeros(1, 8, 6), rtol=0, atol=1e-5)


def test_the_large_level_is_made_in_two_steps():
    neck = SimplePyramid(16, 12, scales=(4,))
    kinds = [type(layer).__name__ for layer in neck.levels[0]]
    assert kinds == ['ConvTranspose2d', 'MapNorm', 'GELU', 'ConvTranspose2d', 'Conv2d', 'MapNorm', 'Conv2d', 'MapNorm']


def test_bad_arguments_are_named():
    with pytest.raises(ValueError, match=r'scales=\(3,\) must be some of'):
        SimplePyramid(16, scales=(3,))
    with pytest.raises(ValueError, match='num_outs=2 is fewer than the 4 scales'):
        SimplePyramid(16, num_outs=2)
    with pytest.raises(ValueError, match='channels'):
        SimplePyramid(16)([torch.randn(1, 8, 4, 4)])
