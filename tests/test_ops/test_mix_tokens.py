"""Both steps of linear attention in slices: the numbers of one after the other, and one node to a compiler."""

import pytest
import torch

from saga_mm.ops import Grid, add_read_in_slices, mix_in_slices, write_in_slices

pytestmark = pytest.mark.usefixtures('short_slices')
CHANNELS, HEADS = 8, 2


def draw(*shape: int) -> torch.Tensor:
    return torch.randn(shape, dtype=torch.float64)


def layer(out: int, bias: bool) -> tuple:
    return draw(out, CHANNELS), draw(out) if bias else None


def arguments(full: bool) -> tuple[tuple, list]:
    """A norm, and the layers of keys and values, gates, queries, neighbours and answers."""
    gates = (draw(2 * CHANNELS, 3), draw(2 * CHANNELS), draw(3, CHANNELS)) if full else None
    local = (draw(CHANNELS, 1, 5, 5), draw(CHANNELS)) if full else None
    layers = [layer(2 * CHANNELS, full), gates, layer(CHANNELS, full), local, layer(CHANNELS, full)]
    return (draw(CHANNELS), draw(CHANNELS), 1e-6), layers


@pytest.mark.parametrize('normalizer', ['plain', 'gated'])
@pytest.mark.parametrize('feature_map', ['relu', 'elu+1'])
@pytest.mark.parametrize('full', [True, False])
def test_both_steps_are_written_over_their_tokens(full: bool, feature_map: str, normalizer: str):
    x, grid, (norm, layers) = draw(2, 300, CHANNELS), Grid.whole(15, 20), arguments(full)
    pair, gates, query, local, proj = layers
    state = write_in_slices(x, norm, pair, gates, HEADS, feature_map=feature_map, normalizer=normalizer)
    value = tuple(None if half is None else half.chunk(2)[1] for half in pair)
    wanted = add_read_in_slices(
        x, norm, state[:2], query, value, local, proj, grid, grid, feature_map=feature_map, eps=1e-3
    )
    options = {'feature_map': feature_map, 'normalizer': normalizer, 'eps': 1e-3}
    found = x.clone()
    assert mix_in_slices(found, norm, *layers, HEADS, 15, 20, **options) is found
    torch.testing.assert_close(found, wanted)


@pytest.mark.parametrize('full', [True, False])
def test_a_compiler_sees_one_node(full: bool):
    x, (norm, layers) = draw(2, 300, CHANNELS), arguments(full)
    found = mix_in_slices(x.clone(), norm, *layers, HEADS, 15, 20)
    nothing = [(None,) * number for number in (2, 3, 2, 2, 2)]
    flat = [tensor for parts, none in zip(layers, nothing, strict=True) for tensor in parts or none]
    args = *norm, *flat, HEADS, 15, 20, 'relu', 'plain', 1e-6
    torch.library.opcheck(torch.ops.saga_mm.mix_tokens, (x.clone(), *args))
    assert torch.ops.saga_mm.mix_tokens(x, *args) is None
    assert torch.equal(x, found)
