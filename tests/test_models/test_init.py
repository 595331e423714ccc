"""How new layers start."""

import math

import torch
from torch import nn

from saga_mm.models.init import init_truncated, init_weights


def layers() -> nn.Sequential:
    return nn.Sequential(nn.Linear(200, 300), nn.Conv2d(64, 96, 3, groups=2), nn.LayerNorm(8))


def test_as_pvt():
    linear, conv, norm = layers().apply(init_weights)
    assert abs(float(linear.weight.std()) / 0.02 - 1) < 0.05
    # what a convolution gives has variance 2 for each output that an input reaches
    assert abs(float(conv.weight.std()) / math.sqrt(2 / (96 * 9 / 2)) - 1) < 0.05
    assert not linear.bias.any() and not conv.bias.any() and norm.weight.eq(1).all()
    assert nn.Linear(2, 2, bias=False).apply(init_weights).bias is None


def test_as_ravlt():
    linear, conv, norm = layers().apply(init_truncated)
    for layer in (linear, conv):
        assert abs(float(layer.weight.std()) / 0.02 - 1) < 0.05 and not layer.bias.any()
    assert torch.equal(norm.weight, torch.ones(8))
