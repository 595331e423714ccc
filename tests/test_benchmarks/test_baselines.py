"""Baselines give the numbers of the package's own mixers with the same weights, and so do their gradients."""

import pytest
import torch

from benchmarks import baselines
from benchmarks.nets import MIXERS
from saga_mm.analysis import measure_cost
from saga_mm.models.attention import build_attention
from saga_mm.models.backbones import create_backbone
from saga_mm.ops import Grid
from saga_mm.rows import crop_rows

DIMS, HEADS = 24, 2
PAIRS = {
    'naive': 'softmax',
    'mha': 'softmax',
    'focused_transcribed': 'focused',
    'rala_transcribed': 'rala',
}


def build(name: str, dtype: torch.dtype = torch.float64, **offers):
    """A mixer and the package's own with the same weights, none of them zero."""
    torch.manual_seed(0)
    offers = {'table_size': (5, 4), **offers}
    ours = build_attention(PAIRS[name], DIMS, HEADS, **offers).to(dtype)
    with torch.no_grad():
        for parameter in ours.parameters():
            parameter.add_(0.2 * torch.randn_like(parameter))
    mixer = build_attention(MIXERS[name], DIMS, HEADS, **offers).to(dtype)
    mixer.load_state_dict(ours.state_dict())
    return mixer, ours


@pytest.mark.parametrize('qkv_bias', [True, False])
@pytest.mark.parametrize(('height', 'width'), [(9, 7), (5, 4), (1, 3)])
@pytest.mark.parametrize('name', PAIRS)
def test_same_numbers_and_gradients(name, height, width, qkv_bias):
    mixers = build(name, sr_ratio=2, qkv_bias=qkv_bias)
    x = torch.randn(2, height * width, DIMS, dtype=torch.float64, requires_grad=True)
    weight = torch.randn(2, height * width, DIMS, dtype=torch.float64)
    outs, grads = [], []
    for mixer in mixers:
        outs.append(mixer(x, Grid.whole(height, width)))
        grads.append(torch.autograd.grad((outs[-1] * weight).sum(), [x, *mixer.parameters()]))
    torch.testing.assert_close(*outs, rtol=1e-9, atol=1e-11)
    torch.testing.assert_close(*grads, rtol=1e-8, atol=1e-10)
    assert all(grad.abs().max() > 1e-6 for grad in grads[0][:2])


@pytest.mark.parametrize('name', ['naive', 'mha'])
def test_softmax_runs_in_pieces_of_rows(name):
    mixer, ours = build(name, sr_ratio=2)
    whole = Grid.whole(6, 5)
    x = torch.randn(1, 30, DIMS, dtype=torch.float64)
    pieces = [whole._replace(stop=4), whole._replace(start=4)]
    state = mixer.merge([mixer.write(crop_rows(x, whole, piece), piece) for piece in pieces])
    parts = [mixer.read(crop_rows(x, whole, piece), piece, state) for piece in pieces]
    torch.testing.assert_close(torch.cat(parts, dim=1), ours(x, whole))


@pytest.mark.parametrize('name', ['focused_transcribed', 'rala_transcribed'])
def test_transcriptions_refuse_pieces(name):
    mixer, _ = build(name)
    grid = Grid.whole(2, 2)
    for half in (mixer.write, lambda x, grid: mixer.read(x, grid, None)):
        with pytest.raises(NotImplementedError, match='runs whole maps alone'):
            half(torch.zeros(1, 4, DIMS, dtype=torch.float64), grid)


def test_the_map_exists_in_naive_attention_alone():
    x, grid, tokens = torch.empty(1, 64 * 64, DIMS, device='meta'), Grid.whole(64, 64), 64 * 64
    cost = {
        name: measure_cost(build_attention(MIXERS.get(name, name), DIMS, HEADS), x, grid)
        for name in (*PAIRS, 'softmax')
    }
    whole = HEADS * tokens * tokens
    assert cost['naive'].largest.bytes == 4 * whole
    # before and after the softmax
    assert cost['naive'].peak_bytes > 2 * 4 * whole
    # and the mean over the heads
    assert cost['mha'].largest.bytes == 4 * whole and cost['mha'].peak_bytes > 4 * 1.5 * whole
    assert all(cost[name].peak_bytes < whole for name in ('softmax', 'focused_transcribed', 'rala_transcribed'))
    assert cost['naive'].macs == cost['mha'].macs == cost['softmax'].macs


def test_a_backbone_loads_the_weights_of_the_fused_one():
    arch = {'embed_dims': (8, 16), 'depths': (1, 1), 'num_heads': (1, 2), 'mlp_ratios': (2, 2), 'sr_ratios': (4, 1)}
    options = {'arch': arch, 'out_indices': (0, 1)}
    fused = create_backbone('pvt_tiny', **options).eval()
    image = torch.randn(1, 3, 50, 37)
    for name in ('naive', 'mha'):
        net = create_backbone('pvt_tiny', attention=MIXERS[name], **options).eval()
        assert isinstance(net.stages[0].blocks[0].attn, baselines.SoftmaxAttention)
        net.load_state_dict(fused.state_dict())
        with torch.no_grad():
            torch.testing.assert_close(net(image), fused(image), rtol=1e-4, atol=1e-5)
