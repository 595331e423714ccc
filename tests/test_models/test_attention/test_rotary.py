"""What the mixers with RoPE, local branch and output gate have in common."""

import itertools

import pytest
import torch

from saga_mm.models.attention import build_attention
from saga_mm.ops import Grid

NAMES = ['rala', 'rope_softmax', 'mala']


def build(name, **options):
    torch.manual_seed(0)
    mixer = build_attention({'type': name, **options}, 16, 2).double()
    for parameter in mixer.parameters():
        torch.nn.init.normal_(parameter, std=0.4)
    return mixer


@pytest.mark.parametrize('name', NAMES)
@pytest.mark.parametrize('options', [{}, {'qkv_bias': False}, {'local_kernel': 1}], ids=str)
def test_every_option_runs_on_odd_maps_and_trains_every_parameter(name, options):
    mixer = build(name, **options)
    x = torch.randn(2, 35, 16, dtype=torch.float64, requires_grad=True)
    out = mixer(x, Grid.whole(5, 7))
    assert out.shape == x.shape and out.isfinite().all()
    out.square().sum().backward()
    for key, parameter in mixer.named_parameters():
        assert parameter.grad is not None and parameter.grad.isfinite().all(), key
        assert parameter.grad.abs().sum() > 0, key


def mix_in_pieces(mixer, x, height, width, cuts, order):
    """Sweep, merge and read piece by piece, each with as many more rows as its ``halo`` asks for."""
    rows = x.unflatten(1, (height, width))
    spans = [list(itertools.pairwise(cuts))[i] for i in order]
    state = None
    for _ in range(mixer.sweeps):
        state = mixer.merge(
            [mixer.write(rows[:, i:j].flatten(1, 2), Grid(height, width, i, j), state) for i, j in spans]
        )
    out = torch.empty_like(rows)
    for i, j in spans:
        top, bottom = max(i - mixer.halo, 0), min(j + mixer.halo, height)
        piece = mixer.read(rows[:, top:bottom].flatten(1, 2), Grid(height, width, top, bottom), state)
        out[:, i:j] = piece.unflatten(1, (bottom - top, width))[:, i - top : j - top]
    return out.flatten(1, 2)


@pytest.mark.parametrize('name', NAMES)
@pytest.mark.parametrize(('cuts', 'order'), [((0, 3, 7), (1, 0)), ((0, 1, 2, 6, 7), (2, 0, 3, 1)), ((0, 7), (0,))])
def test_strips_with_a_halo_equal_the_whole(name, cuts, order):
    mixer = build(name)
    x = torch.randn(2, 35, 16, dtype=torch.float64)
    with torch.no_grad():
        pieces = mix_in_pieces(mixer, x, 7, 5, cuts, order)
        assert torch.allclose(pieces, mixer(x, Grid.whole(7, 5)), rtol=1e-10, atol=1e-12)


@pytest.mark.parametrize('name', NAMES)
def test_sizes_may_change_between_calls(name):
    mixer = build(name).eval()
    maps = [(torch.randn(1, h * w, 16, dtype=torch.float64), Grid.whole(h, w)) for h, w in ((6, 4), (4, 6), (9, 1))]
    first = [mixer(*each) for each in maps]
    again = [mixer(*each) for each in reversed(maps)][::-1]
    assert all(torch.equal(a, b) for a, b in zip(first, again, strict=True))


@pytest.mark.parametrize('dtype', [torch.float16, torch.bfloat16])
@pytest.mark.parametrize(('name', 'size'), [('rala', (200, 336)), ('rala', (512, 512)), ('mala', (200, 336))], ids=str)
def test_half_precision_stays_finite_on_large_maps_and_activations(name, dtype, size):
    torch.manual_seed(0)
    mixer = build_attention(name, 8, 2)
    for projection in (mixer.q, mixer.kv, mixer.gate, mixer.proj):
        torch.nn.init.normal_(projection.weight, std=projection.in_features**-0.5)
    x = 8 * torch.randn(1, size[0] * size[1], 8)
    # tokens whose channels are all negative
    x[:, :100] = -x[:, :100].abs()
    grid = Grid.whole(*size)
    with torch.no_grad():
        exact = mixer(x, grid)
    mixer, x = mixer.to(dtype), x.to(dtype).requires_grad_()
    out = mixer(x, grid)
    assert out.dtype == dtype
    (out.float() / exact.std()).square().mean().backward()
    assert out.isfinite().all() and x.grad.isfinite().all()
    assert all(p.grad.isfinite().all() for p in mixer.parameters())
    assert (out.float() - exact).norm() / exact.norm() < (0.02 if dtype == torch.float16 else 0.1)


@pytest.mark.parametrize('dtype', [torch.float16, torch.bfloat16])
@pytest.mark.parametrize('name', NAMES)
def test_autocast_is_close_to_float32(name, dtype):
    torch.manual_seed(0)
    mixer = build_attention(name, 16, 2)
    x, grid = torch.randn(2, 600, 16), Grid.whole(20, 30)
    with torch.no_grad():
        exact = mixer(x, grid)
        with torch.autocast('cpu', dtype=dtype):
            out = mixer(x, grid)
    assert (out.float() - exact).norm() / exact.norm() < 0.02


@pytest.mark.parametrize('name', NAMES)
@pytest.mark.parametrize(
    ('dims', 'heads', 'options', 'message'),
    [
        (16, 3, {}, 'num_heads=3 does not divide embed_dims=16'),
        (12, 2, {}, '4 divides, got 6'),
        (16, 2, {'local_kernel': 4}, 'local_kernel must be odd, got 4'),
    ],
)
def test_bad_options_are_named(name, dims, heads, options, message):
    with pytest.raises(ValueError, match=message):
        build_attention({'type': name, **options}, dims, heads)
