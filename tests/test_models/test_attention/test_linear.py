"""Plain linear attention against its equation, and what the mixers that derive from it share."""

import itertools

import pytest
import torch

from saga_mm.models.attention import LinearAttention, SAGAAttention, build_attention
from saga_mm.ops import Grid, linear_attention_reference

HALVES = [torch.float16, torch.bfloat16]
# every mixer whose state is this one
SHARING = [
    {'type': 'linear'},
    {'type': 'linear', 'feature_map': 'elu+1', 'local_kernel': 3},
    {'type': 'focused', 'table_size': (7, 7)},
    {'type': 'focused', 'table_size': (7, 7), 'lepe_kernel': 3},
    {'type': 'focused', 'sr_ratio': 2},
    {'type': 'saga'},
]


@pytest.mark.parametrize('feature_map', ['relu', 'elu+1'])
def test_equals_the_equation_with_gradients(feature_map):
    torch.manual_seed(0)
    mixer = LinearAttention(12, 3, feature_map=feature_map).double()
    x = torch.randn(2, 24, 12, dtype=torch.float64, requires_grad=True)
    q, k, v = (part.view(2, 24, 3, 4) for part in (mixer.q(x), *mixer.kv(x).chunk(2, dim=-1)))
    written = mixer.proj(linear_attention_reference(q, k, v, feature_map=feature_map).flatten(2))
    results = []
    for out in (mixer(x, Grid.whole(4, 6)), written):
        results.append((out, *torch.autograd.grad(out.square().sum(), [x, *mixer.parameters()], retain_graph=True)))
    for fast, slow in zip(*results, strict=True):
        assert torch.allclose(fast, slow, rtol=1e-10, atol=1e-12)


def test_a_local_branch_is_off_unless_asked_for():
    assert LinearAttention(8, 2).local is None and LinearAttention(8, 2).halo == 0
    assert LinearAttention(8, 2, local_kernel=5).halo == 2


def test_is_saga_without_gates():
    plain = LinearAttention(16, 2, local_kernel=3)
    saga = SAGAAttention(16, 2, gates='none')
    saga.load_state_dict(plain.state_dict())
    x = torch.randn(1, 15, 16)
    assert torch.equal(plain(x, Grid.whole(3, 5)), saga(x, Grid.whole(3, 5)))


@pytest.mark.parametrize('options', SHARING, ids=str)
@pytest.mark.parametrize('cuts', [(0, 2, 8), (0, 4, 6, 8)])
def test_strips_with_a_halo_equal_the_whole(options, cuts):
    torch.manual_seed(0)
    mixer = build_attention(options, 16, 2).double()
    for parameter in mixer.parameters():
        torch.nn.init.normal_(parameter, std=0.4)
    height, width = 8, 5
    x = torch.randn(1, height * width, 16, dtype=torch.float64)
    rows = x.view(1, height, width, 16)
    spans = list(itertools.pairwise(cuts))
    state = mixer.merge([mixer.write(rows[:, i:j].flatten(1, 2), Grid(height, width, i, j)) for i, j in spans])
    outs = []
    for i, j in spans:
        top, bottom = max(i - mixer.halo, 0), min(j + mixer.halo, height)
        out = mixer.read(rows[:, top:bottom].flatten(1, 2), Grid(height, width, top, bottom), state)
        outs.append(out.view(1, bottom - top, width, 16)[:, i - top : j - top].flatten(1, 2))
    assert torch.allclose(torch.cat(outs, dim=1), mixer(x, Grid.whole(height, width)), rtol=1e-9)


@pytest.mark.parametrize('dtype', HALVES)
@pytest.mark.parametrize('options', SHARING, ids=str)
def test_half_precision_stays_close_and_trains_on_large_and_negative_tokens(options, dtype):
    mixer, grid, x = _straight(options, (20, 34))
    exact = mixer(x.float(), grid)
    mixer = mixer.to(dtype)
    x = x.to(dtype).requires_grad_()
    out = mixer(x, grid)
    assert out.isfinite().all()
    assert (out.float() - exact).norm() / exact.norm() < 0.02
    out.float().square().mean().backward()
    assert x.grad.isfinite().all()
    assert all(p.grad.isfinite().all() for p in mixer.parameters())


@pytest.mark.parametrize('dtype', HALVES)
@pytest.mark.parametrize('size', [(200, 336), (512, 512)])
@pytest.mark.parametrize('options', SHARING[:3], ids=str)
def test_half_precision_stays_finite_on_the_largest_maps(options, size, dtype):
    mixer, grid, x = _straight(options, size)
    with torch.no_grad():
        assert mixer.to(dtype)(x.to(dtype), grid).isfinite().all()


def _straight(options, size):
    """A mixer whose queries, keys and values are its tokens, and tokens of 8x unit scale, some negative throughout."""
    torch.manual_seed(0)
    mixer = build_attention(options, 8, 2)
    identity = torch.eye(8)
    mixer.load_state_dict({'q.weight': identity, 'kv.weight': identity.repeat(2, 1), 'proj.weight': identity}, False)
    x = 8 * torch.randn(1, size[0] * size[1], 8)
    x[:, ::7] = -x[:, ::7].abs()
    return mixer, Grid.whole(*size), x


@pytest.mark.parametrize(
    ('options', 'message'),
    [
        ({'num_heads': 3}, 'num_heads=3 does not divide embed_dims=16'),
        ({'feature_map': 'gelu'}, "unknown feature map 'gelu'"),
        ({'normalizer': 'softmax'}, "unknown normalizer 'softmax'"),
        ({'local_kernel': 4}, 'local_kernel must be odd'),
    ],
)
def test_bad_options_are_named(options, message):
    with pytest.raises(ValueError, match=message):
        LinearAttention(**{'embed_dims': 16, 'num_heads': 2, **options})
