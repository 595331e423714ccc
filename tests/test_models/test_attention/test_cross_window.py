"""Cross-shaped window attention against its equation: every token pair, and who sees whom from its coordinates."""

import itertools

import pytest
import torch

from saga_mm.models.attention import CrossWindowAttention
from saga_mm.ops import Grid


def build(heads=4, **options):
    torch.manual_seed(0)
    mixer = CrossWindowAttention(12, heads, **{'stripe_width': 3, **options}).double()
    for parameter in mixer.parameters():
        torch.nn.init.normal_(parameter, std=0.5)
    return mixer


def naive(mixer, x, grid):
    """Softmax over the whole map, of which a head sees a stripe, and the convolution as a sum over token pairs."""
    at = torch.cartesian_prod(torch.arange(grid.height), torch.arange(grid.width)).view(-1, 2)
    stripe = at // (mixer.stripe_width or max(grid))
    upright = stripe[:, None, 1] == stripe[:, 1]
    lying = stripe[:, None, 0] == stripe[:, 0]
    sees = torch.stack([upright] * mixer.upright + [lying] * mixer.lying)
    q = mixer.q(x).unflatten(-1, (mixer.num_heads, -1))
    k, v = (part.unflatten(-1, (mixer.num_heads, -1)) for part in mixer.kv(x).chunk(2, dim=-1))
    weights = torch.einsum('bihd,bjhd->bhij', q, k) / q.shape[-1] ** 0.5
    weights = weights.masked_fill(~sees, float('-inf')).softmax(-1)
    out = torch.einsum('bhij,bjhd->bihd', weights, v).flatten(2)
    apart = at - at[:, None] + 1
    near = ((apart >= 0) & (apart <= 2)).all(-1)
    apart = apart.clamp(0, 2)
    kernel = mixer.lepe.weight[:, 0, apart[..., 0], apart[..., 1]]
    kernel = kernel * (near & sees.repeat_interleave(v.shape[-1], dim=0))
    return mixer.proj(out + torch.einsum('cij,bjc->bic', kernel, v.flatten(2)) + mixer.lepe.bias)


@pytest.mark.parametrize('options', [{}, {'heads': 3}, {'heads': 1}, {'stripe_width': 1}, {'stripe_width': 0}], ids=str)
@pytest.mark.parametrize('size', [(6, 9), (7, 5), (2, 10), (1, 1)])
def test_equals_the_written_out_map_with_gradients(size, options):
    mixer = build(**options)
    grid = Grid.whole(*size)
    x = torch.randn(2, size[0] * size[1], 12, dtype=torch.float64, requires_grad=True)
    results = []
    for out in (mixer(x, grid), naive(mixer, x, grid)):
        results.append((out, *torch.autograd.grad(out.square().sum(), [x, *mixer.parameters()])))
    for fused, written in zip(*results, strict=True):
        assert (fused - written).abs().max() <= 1e-10 * max(1, written.abs().max())


@pytest.mark.parametrize('how', ['plain', 'hooked', 'replaced'])
@pytest.mark.parametrize('options', [{}, {'stripe_width': 0}], ids=str)
def test_a_convolution_with_a_hook_or_a_forward_of_its_own_is_called(options, how):
    mixer, grid, seen = build(**options), Grid.whole(7, 5), []
    x = torch.randn(2, 35, 12, dtype=torch.float64)
    if how == 'hooked':
        mixer.lepe.register_forward_hook(lambda *args: seen.append(1))
    if how == 'replaced':
        before = mixer.lepe.forward
        mixer.lepe.forward = lambda x: seen.append(1) or before(x)
    torch.testing.assert_close(mixer(x, grid), naive(mixer, x, grid), rtol=1e-9, atol=1e-9)
    assert bool(seen) == (how != 'plain')


@pytest.mark.parametrize('options', [{}, {'stripe_width': 1}, {'stripe_width': 0}], ids=str)
@pytest.mark.parametrize('cuts', [(0, 3, 6, 11), (0, 6, 11)])
def test_strips_with_a_halo_equal_the_whole(cuts, options):
    mixer = build(**options)
    height, width = 11, 7
    x = torch.randn(1, height * width, 12, dtype=torch.float64)
    rows = x.view(1, height, width, 12)
    spans = list(itertools.pairwise(cuts))
    states = [mixer.write(rows[:, i:j].flatten(1, 2), Grid(height, width, i, j)) for i, j in spans]
    # the order of the rows does not matter to those who ask
    state = mixer.merge(states[::-1])
    outs = []
    for i, j in spans:
        top, bottom = max(i - mixer.halo, 0), min(j + mixer.halo, height)
        out = mixer.read(rows[:, top:bottom].flatten(1, 2), Grid(height, width, top, bottom), state)
        outs.append(out.view(1, bottom - top, width, 12)[:, i - top : j - top].flatten(1, 2))
    assert torch.allclose(torch.cat(outs, dim=1), mixer(x, Grid.whole(height, width)), rtol=1e-9)


def test_a_piece_that_cuts_stripes_is_refused():
    mixer = build()
    piece, grid = torch.randn(1, 20, 12).double(), Grid(9, 5, 1, 5)
    with pytest.raises(ValueError, match='must be cut at multiples of 3'):
        mixer.read(piece, grid, mixer.write(piece, grid))


@pytest.mark.parametrize('dtype', [torch.float16, torch.bfloat16])
def test_large_activations_stay_finite_in_half_precision(dtype):
    torch.manual_seed(0)
    mixer = CrossWindowAttention(32, 2).to(dtype)
    out = mixer(8 * torch.randn(1, 150, 32, dtype=dtype), Grid.whole(10, 15))
    assert out.dtype == dtype and out.isfinite().all()


@pytest.mark.parametrize(
    ('options', 'message'),
    [
        ({'num_heads': 3}, 'num_heads=3 does not divide embed_dims=8'),
        ({'stripe_width': -1}, 'stripe_width=-1 must be positive, or 0'),
    ],
)
def test_bad_options_are_named(options, message):
    with pytest.raises(ValueError, match=message):
        CrossWindowAttention(**{'embed_dims': 8, 'num_heads': 2, **options})
