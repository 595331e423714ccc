"""Linear attention in slices: the numbers of the plain functions, any layout."""

import pytest
import torch
import torch.nn.functional as F

from saga_mm.ops import (
    Grid,
    Kept,
    KVState,
    add_read_in_slices,
    linear_attention,
    read_state,
    slices,
    write_in_slices,
    write_state,
)

pytestmark = pytest.mark.usefixtures('short_slices')
CHANNELS, HEADS = 8, 2
NORM_EPS = 1e-6


def draw(*shape: int) -> torch.Tensor:
    return torch.randn(shape, dtype=torch.float64)


def layer(out: int, bias: bool = True) -> tuple:
    return draw(out, CHANNELS), draw(out) if bias else None


def gate_layers(bias: bool = True, rank: int = 0) -> tuple:
    if not rank:
        return *layer(2 * CHANNELS, bias), None
    return draw(2 * CHANNELS, rank), draw(2 * CHANNELS) if bias else None, draw(rank, CHANNELS)


def norm() -> tuple:
    return draw(CHANNELS), draw(CHANNELS), NORM_EPS


def normed(x: torch.Tensor, norm: tuple) -> torch.Tensor:
    scale, shift, eps = norm
    return (x - x.mean(-1, keepdim=True)) / (x.var(-1, correction=0, keepdim=True) + eps).sqrt() * scale + shift


def heads(x: torch.Tensor) -> torch.Tensor:
    return x.unflatten(-1, (HEADS, CHANNELS // HEADS))


@pytest.mark.parametrize('normalizer', ['plain', 'gated'])
@pytest.mark.parametrize('feature_map', ['relu', 'elu+1', 'focused', 'identity'])
@pytest.mark.parametrize(
    ('gated', 'rank', 'bias'), [(True, 0, True), (True, 0, False), (False, 0, True), (True, 3, True), (True, 3, False)]
)
def test_tokens_write_the_state(gated: bool, rank: int, bias: bool, feature_map: str, normalizer: str):
    x, options = draw(2, 600, CHANNELS), {'feature_map': feature_map, 'normalizer': normalizer}
    scales, pair, gates = norm(), layer(2 * CHANNELS, bias), gate_layers(bias, rank) if gated else None
    found = write_in_slices(x, scales, pair, gates, HEADS, **options)
    tokens = normed(x, scales)
    k, v = (heads(half) for half in F.linear(tokens, *pair).chunk(2, dim=-1))
    logits = F.linear(tokens @ gates[2].T if rank else tokens, *gates[:2]) if gated else None
    opened = [heads(half).sigmoid() for half in logits.chunk(2, dim=-1)] if gated else []
    wanted = write_state(k, v, *opened, **options)
    assert found.count == wanted.count == 600
    torch.testing.assert_close(tuple(found[:2]), tuple(wanted[:2]))


CASES = {
    'all': ('relu', 3, True, Grid.whole(9, 7)),
    'wide kernel': ('relu', 5, True, Grid.whole(9, 7)),
    'no convolution, no biases': ('elu+1', 0, False, Grid.whole(9, 7)),
    'some rows of a piece': ('relu', 3, True, Grid(9, 7, 4, 6)),
    'last rows': ('relu', 5, False, Grid(9, 7, 7, 9)),
    'very wide': ('focused', 3, True, Grid.whole(2, 400)),
    'one column': ('relu', 3, True, Grid.whole(300, 1)),
    'one token': ('relu', 3, True, Grid.whole(1, 1)),
}


def attention(feature_map: str, kernel: int, bias: bool) -> tuple[tuple, tuple, list]:
    """A norm, a state, and the layers that read it."""
    state = write_state(heads(draw(2, 20, CHANNELS)), heads(draw(2, 20, CHANNELS)), feature_map=feature_map)
    local = (draw(CHANNELS, 1, kernel, kernel), draw(CHANNELS) if bias else None) if kernel else None
    layers = [layer(CHANNELS, bias), layer(CHANNELS, bias), local, layer(CHANNELS, bias)]
    return norm(), tuple(state[:2]), layers


def expected(x: torch.Tensor, scales: tuple, state: tuple, layers: list, grid: Grid, feature_map: str) -> torch.Tensor:
    query, value, local, proj = layers
    tokens = normed(x, scales)
    answers = read_state(heads(F.linear(tokens, *query)), KVState(*state, count=20), feature_map=feature_map).flatten(2)
    if local is not None:
        plane = F.linear(tokens, *value).unflatten(1, (grid.rows, grid.width)).permute(0, 3, 1, 2)
        near = F.conv2d(plane, *local, padding=local[0].shape[-1] // 2, groups=CHANNELS)
        answers = answers + near.flatten(2).transpose(1, 2)
    return x + F.linear(answers, *proj)


@pytest.mark.parametrize('case', CASES)
@pytest.mark.parametrize('strided', [False, True])
def test_tokens_read_the_state(case: str, strided: bool):
    feature_map, kernel, bias, keep = CASES[case]
    scales, state, layers = attention(feature_map, kernel, bias)
    grid = keep if keep.rows == keep.height else Grid(keep.height, keep.width, max(keep.start - 2, 0), keep.height)
    x = draw(2, grid.rows * grid.width, CHANNELS)
    if strided:
        x = x.transpose(1, 2).contiguous().transpose(1, 2)
    before = x.clone()
    found = add_read_in_slices(x, scales, state, *layers, grid, keep, feature_map=feature_map)
    wanted = expected(x, scales, state, layers, grid, feature_map)
    rows = slice((keep.start - grid.start) * grid.width, (keep.stop - grid.start) * grid.width)
    torch.testing.assert_close(found, wanted[:, rows])
    assert torch.equal(x, before)


def test_both_steps_are_linear_attention():
    x, scales = draw(1, 300, CHANNELS), norm()
    query, pair = layer(CHANNELS), layer(2 * CHANNELS)
    state = write_in_slices(x, scales, pair, None, HEADS)
    eye = torch.eye(CHANNELS, dtype=torch.float64), None
    grid = Grid.whole(15, 20)
    found = add_read_in_slices(x, scales, state[:2], query, (pair[0][CHANNELS:], None), None, eye, grid, grid)
    tokens = normed(x, scales)
    k, v = F.linear(tokens, *pair).chunk(2, dim=-1)
    wanted = linear_attention(heads(F.linear(tokens, *query)), heads(k), heads(v)).flatten(2)
    torch.testing.assert_close(found, x + wanted)


@pytest.mark.parametrize('feature_map', ['relu', 'elu+1'])
@pytest.mark.parametrize('bias', [True, False])
@pytest.mark.parametrize('kernel', [0, 3])
def test_values_and_moments_may_be_kept_for_the_second_step(feature_map: str, bias: bool, kernel: int):
    x, scales, grid = 3 * draw(2, 600, CHANNELS) + 5, norm(), Grid.whole(60, 10)
    # a token without deviation
    x[1, 7] = 2
    pair, gates = layer(2 * CHANNELS, bias), gate_layers()
    kept = Kept.empty(x, values=kernel > 0)
    for tensor in kept:
        if tensor is not None:
            tensor.fill_(float('nan'))
    state = write_in_slices(x, scales, pair, gates, HEADS, kept=kept)
    torch.testing.assert_close(tuple(state), tuple(write_in_slices(x, scales, pair, gates, HEADS)))
    again = tuple(None if half is None else half.chunk(2)[1] for half in pair)
    assert (kept.values is None) == (kernel == 0)
    if kernel:
        torch.testing.assert_close(kept.values, F.linear(normed(x, scales), *again))
    torch.testing.assert_close(kept.mean, x.mean(-1, keepdim=True))
    torch.testing.assert_close(kept.scale, (x.var(-1, correction=0, keepdim=True) + NORM_EPS).rsqrt())
    query, proj = layer(CHANNELS, bias), layer(CHANNELS, bias)
    local = (draw(CHANNELS, 1, kernel, kernel), draw(CHANNELS)) if kernel else None

    def read(value: tuple) -> torch.Tensor:
        return add_read_in_slices(x, scales, state[:2], query, value, local, proj, grid, grid, feature_map=feature_map)

    torch.testing.assert_close(read(kept), read(again))
    # they stand for the norm
    assert not torch.allclose(read(kept._replace(mean=kept.mean + 1)), read(again))


def test_no_more_than_a_slice_is_alive(monkeypatch):
    seen = []
    monkeypatch.setattr(F, 'layer_norm', lambda x, *args: seen.append(len(x)) or x)
    monkeypatch.setattr(torch, 'native_layer_norm', lambda x, *args: (F.layer_norm(x), None, None))
    monkeypatch.setattr(slices, 'SLICE_BYTES', 4 * CHANNELS * 8 * 300)
    scales, state, layers = attention('relu', 3, True)
    x, grid = draw(2, 700, CHANNELS), Grid.whole(35, 20)
    write_in_slices(x, scales, layer(2 * CHANNELS), None, HEADS)
    assert seen == [300, 300, 100] * 2
    seen.clear()
    add_read_in_slices(x, scales, state, *layers, grid, grid)
    assert seen == [16 * 20, 17 * 20, 6 * 20] * 2
