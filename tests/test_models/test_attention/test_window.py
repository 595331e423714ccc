"""Window attention against its equation: every token pair of the map, and who sees whom from its coordinates."""

import itertools

import pytest
import torch
import torch.nn.functional as F

from saga_mm.models.attention import WindowAttention
from saga_mm.ops import Grid


def build(window_size=4, shift=0, **options):
    torch.manual_seed(0)
    mixer = WindowAttention(12, 3, window_size=window_size, shift=shift, **options).double()
    for parameter in mixer.parameters():
        torch.nn.init.normal_(parameter, std=0.5)
    return mixer


def naive(mixer, x, grid):
    """Softmax over the whole map, of which a token sees its window."""
    height, width, window = grid.height, grid.width, mixer.window_size
    plane = x.view(len(x), height, width, -1)
    shift = [mixer.shift, mixer.shift]
    if mixer.borders == 'mmdet':
        plane = F.pad(plane, (0, 0, 0, -width % window, 0, -height % window))
    else:
        shift = [mixer.shift if side > window else 0 for side in (height, width)]
    tokens = plane.flatten(1, 2)
    at = torch.cartesian_prod(torch.arange(plane.shape[1]), torch.arange(plane.shape[2])).view(-1, 2)
    window_of = (at - torch.tensor(shift)).div(window, rounding_mode='floor')
    sees = (window_of[:, None] == window_of).all(-1)
    apart = (at[:, None] - at).clamp(1 - window, window - 1) + window - 1
    bias = mixer.relative_position_bias_table[apart[..., 0] * (2 * window - 1) + apart[..., 1]]
    q = mixer.q(tokens).unflatten(-1, (mixer.num_heads, -1))
    k, v = (part.unflatten(-1, (mixer.num_heads, -1)) for part in mixer.kv(tokens).chunk(2, dim=-1))
    weights = torch.einsum('bihd,bjhd->bhij', q, k) / q.shape[-1] ** 0.5 + bias.permute(2, 0, 1)
    weights = weights.masked_fill(~sees, float('-inf')).softmax(-1)
    out = torch.einsum('bhij,bjhd->bihd', weights, v).flatten(2).unflatten(1, plane.shape[1:3])
    return mixer.proj(out[:, :height, :width].flatten(1, 2))


@pytest.mark.parametrize('borders', ['masked', 'mmdet'])
@pytest.mark.parametrize('shift', [0, 2, 3])
@pytest.mark.parametrize('size', [(8, 12), (4, 4), (7, 10), (3, 9), (9, 4), (2, 3), (1, 1)])
def test_equals_the_written_out_map_with_gradients(size, shift, borders):
    mixer = build(shift=shift, borders=borders)
    grid = Grid.whole(*size)
    x = torch.randn(2, size[0] * size[1], 12, dtype=torch.float64, requires_grad=True)
    results = []
    for out in (mixer(x, grid), naive(mixer, x, grid)):
        results.append((out, *torch.autograd.grad(out.square().sum(), [x, *mixer.parameters()])))
    for fused, written in zip(*results, strict=True):
        assert (fused - written).abs().max() <= 1e-10 * max(1, written.abs().max())


def test_borders_matter_only_where_there_is_padding_or_one_window():
    x = torch.randn(1, 96, 12, dtype=torch.float64)
    masked, mmdet = build(shift=2), build(shift=2, borders='mmdet')
    assert torch.equal(masked(x, Grid.whole(8, 12)), mmdet(x, Grid.whole(8, 12)))
    assert not torch.allclose(masked(x[:, :70], Grid.whole(7, 10)), mmdet(x[:, :70], Grid.whole(7, 10)))
    assert not torch.allclose(masked(x[:, :16], Grid.whole(4, 4)), mmdet(x[:, :16], Grid.whole(4, 4)))


@pytest.mark.parametrize('borders', ['masked', 'mmdet'])
@pytest.mark.parametrize('shift', [0, 2])
@pytest.mark.parametrize('cuts', [(0, 4, 8, 11), (0, 8, 11)])
def test_strips_with_a_halo_equal_the_whole(cuts, shift, borders):
    mixer = build(shift=shift, borders=borders)
    height, width = 11, 6
    x = torch.randn(1, height * width, 12, dtype=torch.float64)
    rows = x.view(1, height, width, 12)
    outs = []
    for i, j in itertools.pairwise(cuts):
        top, bottom = max(i - mixer.halo, 0), min(j + mixer.halo, height)
        piece, grid = rows[:, top:bottom].flatten(1, 2), Grid(height, width, top, bottom)
        out = mixer.read(piece, grid, mixer.merge([mixer.write(piece, grid)]))
        outs.append(out.view(1, bottom - top, width, 12)[:, i - top : j - top].flatten(1, 2))
    assert torch.allclose(torch.cat(outs, dim=1), mixer(x, Grid.whole(height, width)), rtol=1e-9)


@pytest.mark.parametrize('rows', [(2, 8), (4, 9)])
def test_a_piece_that_cuts_windows_is_refused(rows):
    mixer = build()
    with pytest.raises(ValueError, match='must be cut at multiples of 4'):
        mixer.read(torch.randn(1, (rows[1] - rows[0]) * 3, 12).double(), Grid(12, 3, *rows), None)


def test_sizes_may_change_between_calls():
    mixer = build(shift=2)
    x = torch.randn(1, 40, 12, dtype=torch.float64)
    first = mixer(x, Grid.whole(5, 8))
    mixer(x, Grid.whole(4, 10))
    assert torch.equal(mixer(x, Grid.whole(5, 8)), first)


@pytest.mark.parametrize('dtype', [torch.float16, torch.bfloat16])
def test_large_activations_stay_finite_in_half_precision(dtype):
    torch.manual_seed(0)
    mixer = WindowAttention(32, 2, shift=3).to(dtype)
    out = mixer(8 * torch.randn(1, 150, 32, dtype=dtype), Grid.whole(10, 15))
    assert out.dtype == dtype and out.isfinite().all()


@pytest.mark.parametrize(
    ('options', 'message'),
    [
        ({'num_heads': 3}, 'num_heads=3 does not divide embed_dims=8'),
        ({'shift': 7}, 'shift=7 must be at least 0 and less than window_size=7'),
        ({'borders': 'open'}, "unknown borders='open'; choose one of masked, mmdet"),
    ],
)
def test_bad_options_are_named(options, message):
    with pytest.raises(ValueError, match=message):
        WindowAttention(**{'embed_dims': 8, 'num_heads': 2, **options})
