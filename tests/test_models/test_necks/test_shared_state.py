"""The shared state against its equation: all tokens of all levels as one set."""

import pytest
import torch
from torch import nn

from saga_mm.analysis.cost import measure_cost
from saga_mm.models.attention import TokenMixer
from saga_mm.models.necks import SAGAPyramid, SharedState
from saga_mm.ops import Gates, Grid, linear_attention_reference, map_to_tokens

SIZES = [(9, 14), (5, 7), (3, 4)]
CHANNELS = [12, 16, 20]


class OwnTokens(TokenMixer):
    """A user's mixer without a state."""

    sweeps = 0

    def __init__(self, embed_dims, num_heads, qkv_bias=True):
        super().__init__()

    def read(self, x, grid, state=None):
        return x


def build(attention='saga', **options):
    torch.manual_seed(0)
    neck = SharedState(CHANNELS, embed_dims=16, num_heads=2, attention=attention, **options).double().eval()
    for parameter in neck.parameters():
        nn.init.normal_(parameter, std=0.4)
    return neck


def pyramid(dtype=torch.float64, scale=1.0):
    torch.manual_seed(1)
    return [scale * torch.randn(2, c, *size, dtype=dtype) for c, size in zip(CHANNELS, SIZES)]


def test_equals_attention_over_all_tokens_of_all_levels():
    neck = build({'type': 'saga', 'local_kernel': 0})
    maps = [x.requires_grad_() for x in pyramid()]
    tokens = torch.cat([neck.enter[i](neck.norms[i](map_to_tokens(x))) for i, x in enumerate(maps)], dim=1)
    q = neck.attn.q(tokens).unflatten(-1, (2, 8))
    k, v = (part.unflatten(-1, (2, 8)) for part in neck.attn.kv(tokens).chunk(2, dim=-1))
    a, b = neck.attn.gates.proj(tokens).sigmoid().unflatten(-1, (2, 2, 8)).unbind(2)
    mixed = neck.attn.proj(linear_attention_reference(q, k, v, Gates(a, b)).flatten(2))
    written = []
    for i, (x, part) in enumerate(zip(maps, mixed.split([h * w for h, w in SIZES], dim=1))):
        written.append(x + neck.leave[i](part).transpose(1, 2).unflatten(2, SIZES[i]))
    results = []
    for outs in (neck(maps), written):
        loss = sum(out.square().sum() for out in outs)
        results.append([*outs, *torch.autograd.grad(loss, [*maps, *neck.parameters()])])
    for fast, slow in zip(*results, strict=True):
        assert (fast - slow).norm() <= 1e-10 * slow.norm()


@pytest.mark.parametrize('attention', ['saga', 'linear', 'focused', 'rala', 'mala'])
def test_pieces_of_levels_give_the_whole(attention):
    neck = build(attention)
    maps = pyramid()
    cuts = [[(0, 2), (2, 6), (6, 9)], [(0, 5)], [(0, 1), (1, 3)]]
    pieces = [
        (map_to_tokens(x[:, :, a:b]), Grid(*x.shape[2:], a, b), level)
        for level, x in enumerate(maps)
        for a, b in cuts[level]
    ]
    with torch.no_grad():
        state = None
        for _ in range(neck.sweeps):
            state = neck.merge([neck.write(x, grid, level, state) for x, grid, level in reversed(pieces)])
        for level, (x, out) in enumerate(zip(maps, neck(maps))):
            grid = Grid.whole(*x.shape[2:])
            answer = neck.read(map_to_tokens(x), grid, level, state)
            assert torch.allclose(answer, map_to_tokens(out), rtol=1e-10, atol=1e-12)
            # rows in the middle, read with the halo that the mixer asks for
            top, bottom = max(1 - neck.halo, 0), min(2 + neck.halo, x.shape[2])
            part = neck.read(map_to_tokens(x[:, :, top:bottom]), grid._replace(start=top, stop=bottom), level, state)
            row = part.unflatten(1, (bottom - top, -1))[:, 1 - top]
            assert torch.allclose(row, out[:, :, 1].transpose(1, 2), rtol=1e-10, atol=1e-12)


def test_every_level_hears_of_every_other():
    neck = build()
    maps = [x.requires_grad_() for x in pyramid()]
    for level, out in enumerate(neck(maps)):
        pull = torch.autograd.grad(out[:, :, 0, 0].sum(), maps, retain_graph=True)
        assert all((g[:, :, -1, -1] != 0).any() for g in pull), level


def test_changes_nothing_at_first_but_learns_at_once():
    neck = SAGAPyramid(CHANNELS, embed_dims=16, num_heads=2)
    neck.init_weights()
    maps = pyramid(torch.float32)
    outs = neck(maps)
    assert isinstance(outs, tuple) and all(torch.equal(x, out) for x, out in zip(maps, outs))
    assert len({tuple(layer.bias.tolist()) for layer in neck.enter}) == len(CHANNELS)
    sum((out - 1).square().sum() for out in outs).backward()
    assert all(layer.weight.grad.abs().sum() > 0 for layer in neck.leave)


@pytest.mark.parametrize('dtype', [torch.float16, torch.bfloat16])
def test_half_precision_stays_finite_at_eight_times_the_activations(dtype):
    neck = build().to(dtype)
    with torch.no_grad():
        assert all(out.isfinite().all() for out in neck(pyramid(dtype, 8.0)))


def test_cost_is_linear_in_pixels():
    neck = SAGAPyramid(CHANNELS, embed_dims=16, num_heads=2)
    costs = [measure_cost(neck, [torch.empty(1, c, s >> i, s >> i) for i, c in enumerate(CHANNELS)]) for s in (16, 32)]
    assert costs[1].macs == 4 * costs[0].macs > 0


@pytest.mark.parametrize('local_kernel', [0, 3])
def test_cost_is_counted_exactly(local_kernel):
    dims, heads = 16, 2
    neck = SAGAPyramid(CHANNELS, dims, heads, {'type': 'saga', 'local_kernel': local_kernel})
    positions = [h * w for h, w in SIZES]
    # both ways between a level's channels and the common ones
    macs = sum(n * 2 * c * dims for n, c in zip(positions, CHANNELS))
    # q, k, v, two gates and the last projection; the state written, read, and its normaliser
    token = 6 * dims**2 + 2 * dims * (dims // heads) + dims
    if local_kernel:
        # values are made again where they are read
        token += dims**2 + dims * local_kernel**2
    inputs = [torch.empty(1, c, *size) for c, size in zip(CHANNELS, SIZES)]
    assert measure_cost(neck, inputs).macs == macs + sum(positions) * token


def test_mistakes_are_named():
    with pytest.raises(ValueError, match='in_channels'):
        SharedState([])
    with pytest.raises(ValueError, match='unknown attention'):
        SharedState(CHANNELS, attention='sage')
    for wrong in (8, 'ab', [8, 0]):
        with pytest.raises(ValueError, match='in_channels must list the channels'):
            SharedState(wrong)
    for name in ('window', 'cross_window'):
        with pytest.raises(ValueError, match=f'{name}.* has no state for levels to share'):
            SharedState(CHANNELS, attention=name)
    with pytest.raises(ValueError, match='no state for levels to share'):
        SharedState(CHANNELS, attention=OwnTokens)
    with pytest.raises(ValueError, match='2 maps were given where in_channels names 3'):
        build()(pyramid()[:2])
    with pytest.raises(ValueError, match=r'maps of \[20, 16, 12\] channels were given where in_channels says \[12, 16'):
        build()(pyramid()[::-1])
