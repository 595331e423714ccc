"""Convolutions that repeat the edges of maps."""

import copy

import pytest
import torch
from torch import nn

from saga_mm.models.backbones.pvt_v2 import ConvFeedForward
from saga_mm.models.enhancement.edges import EdgeConv2d, use_repeated_edges
from saga_mm.ops import Grid

OPTIONS = [
    {'kernel_size': 3, 'padding': 1, 'groups': 4},
    {'kernel_size': 3, 'padding': 1, 'stride': 2, 'bias': False},
    {'kernel_size': (3, 5), 'padding': (1, 2)},
    {'kernel_size': 3, 'padding': (2, 1), 'dilation': 2},
]


@pytest.mark.parametrize('options', OPTIONS, ids=str)
def test_equal_to_those_of_pytorch(options):
    wanted = nn.Conv2d(4, 8, padding_mode='replicate', **options).double()
    conv = EdgeConv2d(4, 8, **options).double()
    conv.load_state_dict(wanted.state_dict())
    x = torch.randn(2, 4, 7, 10, dtype=torch.float64, requires_grad=True)
    weights = torch.randn_like(wanted(x))
    for layout in (torch.contiguous_format, torch.channels_last):
        given = x.contiguous(memory_format=layout)
        torch.testing.assert_close(conv(given), wanted(given))
        grads = [torch.autograd.grad((layer(given) * weights).sum(), [x, layer.weight]) for layer in (conv, wanted)]
        torch.testing.assert_close(*grads)


class Own(nn.Conv2d):
    """A user's convolution."""


def test_all_layers_that_look_beyond_edges_repeat_them():
    net = nn.Sequential(nn.Conv2d(3, 4, 3, padding=1), nn.Conv2d(4, 4, 1), nn.Sequential(Own(4, 4, 3, padding=1)))
    use_repeated_edges(net)
    assert [type(layer) for layer in net[:2]] == [EdgeConv2d, nn.Conv2d]
    assert type(net[2][0]) is Own
    # a map without structure stays so
    for size in ((5, 9), (1, 1)):
        out = net(torch.full((1, 3, *size), 0.3))
        torch.testing.assert_close(out, out[:, :, :1, :1].expand_as(out))


def test_a_feed_forward_repeats_edges_of_tokens():
    mlp = ConvFeedForward(4, 8).double()
    wanted = copy.deepcopy(mlp)
    wanted.dwconv.padding_mode = 'replicate'
    use_repeated_edges(mlp)
    for rows, width in ((5, 7), (1, 6), (3, 1)):
        # a strip of a map
        x, grid = torch.randn(2, rows * width, 4, dtype=torch.float64, requires_grad=True), Grid(9, width, 2, 2 + rows)
        made, want = mlp(x, grid), wanted(x, grid)
        torch.testing.assert_close(made, want)
        weights = torch.randn_like(want)
        grads = [
            torch.autograd.grad((out * weights).sum(), [x, *net.parameters()])
            for out, net in ((made, mlp), (want, wanted))
        ]
        torch.testing.assert_close(*grads)
