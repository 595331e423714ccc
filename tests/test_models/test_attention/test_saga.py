"""SAGA's mixer against its equation, and every option of it."""

import itertools

import pytest
import torch
import torch.nn.functional as F

from saga_mm.models.attention import SAGAAttention
from saga_mm.ops import Gates, Grid, linear_attention_reference, map_to_tokens, tokens_to_map

OPTIONS = [
    {},
    {'gates': 'key'},
    {'gates': 'value'},
    {'gates': 'none'},
    {'gate_act': '1+tanh'},
    {'gate_act': 'silu'},
    {'gate_act': 'identity'},
    {'gate_source': 'low_rank', 'gate_hidden': 4},
    {'gate_source': 'kv'},
    {'gate_rank': 3},
    {'gate_shared': True},
    {'gate_shared': True, 'gate_rank': 2, 'gate_source': 'kv'},
    {'gate_bias': 0.0},
    {'feature_map': 'elu+1'},
    {'feature_map': 'focused'},
    {'normalizer': 'gated'},
    {'normalizer': 'none'},
    {'local_kernel': 5},
    {'local_kernel': 0},
    {'local_shared': True},
    {'sr_ratio': 2},
    {'sr_ratio': 4, 'local_kernel': 0},
    {'key_table': (3, 4)},
    {'key_table': (5, 7)},
    {'qkv_bias': False},
]


def build(**options):
    torch.manual_seed(0)
    mixer = SAGAAttention(16, 2, **options).double()
    for parameter in mixer.parameters():
        torch.nn.init.normal_(parameter, std=0.4)
    return mixer


@pytest.mark.parametrize('options', OPTIONS, ids=str)
def test_every_option_runs_on_odd_maps_and_trains_every_parameter(options):
    mixer = build(**options)
    grid = Grid.whole(5, 7)
    x = torch.randn(2, 35, 16, dtype=torch.float64, requires_grad=True)
    out = mixer(x, grid)
    assert out.shape == x.shape and out.isfinite().all()
    out.square().sum().backward()
    for name, parameter in mixer.named_parameters():
        assert parameter.grad is not None and parameter.grad.isfinite().all(), name
        assert parameter.grad.abs().sum() > 0, name
    assert torch.allclose(mixer.read(x, grid, mixer.write(x, grid)), out, rtol=1e-12)


@pytest.mark.parametrize('rank', [1, 2])
@pytest.mark.parametrize('normalizer', ['plain', 'gated'])
def test_equals_the_equation(rank, normalizer):
    mixer = build(gate_rank=rank, normalizer=normalizer)
    grid = Grid.whole(4, 5)
    x = torch.randn(2, 20, 16, dtype=torch.float64)
    q = mixer.q(x).view(2, 20, 2, 8)
    k, v = (part.view(2, 20, 2, 8) for part in mixer.kv(x).split(16, dim=-1))
    a, b = mixer.gates.proj(x).sigmoid().view(2, 20, 2, rank, 2, 8).unbind(2)
    if normalizer == 'plain':
        parts = [linear_attention_reference(q, k, v, Gates(a[:, :, r], b[:, :, r])) for r in range(rank)]
        mixed = sum(parts) / rank
    else:
        gate = torch.einsum('bnrhi,bnrhj->bnhij', a, b) / rank
        state = torch.einsum('bnhij,bnhi,bnhj->bhij', gate, k.relu(), v)
        seen = torch.einsum('bnrhi,bnhi->bhi', a, k.relu()) / rank
        mixed = torch.einsum('bnhi,bhij->bnhj', q.relu(), state)
        mixed = mixed / (torch.einsum('bnhi,bhi->bnh', q.relu(), seen)[..., None] + 20e-6)
    local = F.conv2d(v.flatten(2).transpose(1, 2).view(2, 16, 4, 5), mixer.local.weight, mixer.local.bias, 1, 1, 1, 16)
    expected = mixer.proj(mixed.flatten(2) + local.flatten(2).transpose(1, 2))
    assert torch.allclose(mixer(x, grid), expected, rtol=1e-9)


@pytest.mark.parametrize('cuts', [(0, 3, 7), (0, 1, 2, 6, 7)])
@pytest.mark.parametrize('options', [{}, {'key_table': (3, 4)}, {'local_kernel': 0, 'gate_rank': 2}], ids=str)
def test_strips_with_a_halo_equal_the_whole(cuts, options):
    mixer = build(**options)
    height, width = 7, 5
    x = torch.randn(1, height * width, 16, dtype=torch.float64)
    rows = x.view(1, height, width, 16)
    spans = list(itertools.pairwise(cuts))
    pieces = [(rows[:, i:j].flatten(1, 2), Grid(height, width, i, j)) for i, j in spans]
    state = mixer.merge([mixer.write(*piece) for piece in pieces])
    outs = []
    for i, j in spans:
        top, bottom = max(i - mixer.halo, 0), min(j + mixer.halo, height)
        out = mixer.read(rows[:, top:bottom].flatten(1, 2), Grid(height, width, top, bottom), state)
        outs.append(out.view(1, bottom - top, width, 16)[:, i - top : j - top].flatten(1, 2))
    assert torch.allclose(torch.cat(outs, dim=1), mixer(x, Grid.whole(height, width)), rtol=1e-9)


def test_gates_start_nearly_open_and_depend_on_the_input():
    mixer = SAGAAttention(16, 2)
    x = torch.randn(1, 6, 16)
    ((a, b),) = mixer.gates(x, x, x)
    assert a.shape == b.shape == (1, 6, 2, 8)
    assert (a * b).mean().item() == pytest.approx(torch.sigmoid(torch.tensor(2.0)).square().item(), abs=0.02)
    ((other, _),) = mixer.gates(2 * x, x, x)
    assert not torch.equal(a, other)


def test_without_gates_and_convolution_it_is_plain_linear_attention():
    mixer = build(gates='none', local_kernel=0)
    assert not any('gates' in name for name, _ in mixer.named_parameters())


@pytest.mark.parametrize('how', ['plain', 'hooked', 'replaced'])
def test_shared_local_kernel_treats_heads_alike(how: str):
    mixer, grid, seen = build(local_shared=True), Grid.whole(3, 4), []
    v = torch.randn(2, 12, 16, dtype=torch.float64)
    heads = [map_to_tokens(mixer.local(tokens_to_map(half, grid))) for half in v.chunk(2, dim=-1)]
    if how == 'hooked':
        mixer.local.register_forward_hook(lambda *args: seen.append(1))
    if how == 'replaced':
        before = mixer.local.forward
        mixer.local.forward = lambda x: seen.append(1) or before(x)
    torch.testing.assert_close(mixer._local(v, grid), torch.cat(heads, dim=-1))
    assert bool(seen) == (how != 'plain')


@pytest.mark.parametrize(
    ('options', 'message'),
    [
        ({'num_heads': 3}, 'num_heads=3 does not divide embed_dims=16'),
        ({'gates': 'query'}, "unknown gates='query'; choose one of both"),
        ({'gate_act': 'relu'}, "unknown gate_act='relu'; choose one of sigmoid"),
        ({'gate_source': 'y'}, "unknown gate_source='y'; choose one of input"),
        ({'gate_rank': 0}, 'gate_rank must be at least 1'),
        ({'feature_map': 'gelu'}, "unknown feature map 'gelu'"),
        ({'normalizer': 'softmax'}, "unknown normalizer 'softmax'"),
        ({'local_kernel': 4}, 'local_kernel must be odd'),
    ],
)
def test_bad_options_are_named(options, message):
    with pytest.raises(ValueError, match=message):
        SAGAAttention(**{'embed_dims': 16, 'num_heads': 2, **options})
