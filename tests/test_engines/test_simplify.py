"""Fewer passes over maps, with the same results."""

from collections import Counter
from importlib.util import find_spec

import numpy as np
import pytest
import torch
from torch import nn

from saga_mm.engines.library import core
from saga_mm.engines.openvino_step import convert_function
from saga_mm.engines.simplify import simplify
from saga_mm.models.attention import build_attention
from saga_mm.models.backbones.blocks import Block
from saga_mm.models.backbones.pvt_v2 import ConvFeedForward
from saga_mm.ops import Grid

pytestmark = pytest.mark.skipif(find_spec('openvino') is None, reason='needs openvino')


def both(function, modules, x):
    """How many layers of each kind there are, before and after; the results of both have to be the same."""
    with torch.no_grad():
        for weight in (weight for module in modules for weight in module.parameters()):
            weight.normal_(std=0.4)
        wanted = function(x)
    model = convert_function(function, modules, [torch.rand_like(x)])
    model.reshape(list(x.shape))
    kinds = []
    for change in (lambda model: None, simplify):
        change(model)
        compiled = core().compile_model(model, 'CPU', {'INFERENCE_PRECISION_HINT': 'f32'})
        result = torch.from_numpy(next(iter(compiled([x.numpy()]).values())).copy())
        torch.testing.assert_close(result, wanted, rtol=0, atol=2e-6 * float(wanted.abs().max()))
        kinds.append(Counter(node.get_type_name() for node in model.get_ordered_ops()))
    return kinds


def test_a_norm_before_linear_layers_has_no_pass_of_its_own():
    norm, layers = nn.LayerNorm(12), nn.ModuleList(nn.Linear(12, out) for out in (5, 7))

    def run(x):
        x = norm(x)
        return torch.cat([layer(x) for layer in layers], 2)

    _, after = both(run, [norm, layers], torch.randn(2, 9, 12))
    # one addition for each linear layer
    assert after['MVN'] == 1 and after['Multiply'] == 0 and after['Add'] == 2


@pytest.mark.parametrize('other', [lambda x: x, torch.relu, lambda x: x.transpose(1, 2).reshape(x.shape)])
def test_a_norm_that_something_else_uses_stays(other):
    norm, layer = nn.LayerNorm(12), nn.Linear(12, 12)

    def run(x):
        x = norm(x)
        return layer(x) + other(x)

    _, after = both(run, [norm, layer], torch.randn(1, 12, 12))
    assert after['Multiply'] == 1


def test_a_layer_without_bias_keeps_its_norm():
    norm, layer = nn.LayerNorm(6), nn.Linear(6, 4, bias=False)
    _, after = both(lambda x: layer(norm(x)), [norm, layer], torch.randn(1, 5, 6))
    assert after['Multiply'] == 1 and after['Add'] == 1


@pytest.mark.parametrize('heads', [1, 2, 4])
@pytest.mark.parametrize('edges', [False, True])
def test_a_block_moves_tokens_less_often(heads, edges):
    block = Block(16, build_attention('saga', 16, heads), ConvFeedForward(16, 32), 0.0).eval()
    if edges:
        block.mlp.repeat_edges()

    def run(x):
        return block(x.flatten(1, 2), Grid.whole(*x.shape[1:3]))

    before, after = both(run, [block], torch.randn(1, 7, 9, 16))
    assert after['Transpose'] < before['Transpose'] and after['Reshape'] < before['Reshape']
    # heads are brought before tokens to be read alone
    assert after['Transpose'] == 2 + 2 * (heads > 1) + 2
    # gates of keys and of values alone: both norms are in linear layers
    assert after['Multiply'] == 2 < before['Multiply']


def test_what_is_moved_otherwise_is_multiplied_after_it():
    layer = nn.Linear(4, 4)

    def run(x):
        y = layer(x)
        return torch.relu(y.transpose(1, 2)) * torch.relu(y.reshape(x.shape[0], 4, -1)) * y.reshape(x.shape[0], 4, -1)

    both(run, [layer], torch.from_numpy(np.random.default_rng(0).standard_normal((2, 4, 4)).astype('f4')))
