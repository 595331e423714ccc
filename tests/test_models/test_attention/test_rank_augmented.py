import itertools
from types import SimpleNamespace

import pytest
import torch
import torch.nn.functional as F

from saga_mm.models.attention import RankAugmentedLinearAttention
from saga_mm.ops import Grid


def weigh(q, k, products):
    """The published arithmetic, its factor N included."""
    count = k.shape[1]
    mean_query = q.mean(dim=1, keepdim=True)
    alpha = (k * mean_query).sum(-1).div(k.shape[-1] ** 0.5).softmax(dim=1).transpose(1, 2).unsqueeze(2)
    seen = torch.einsum('bihd,bjhd->bhij', q, k) * alpha * count
    return products * alpha * count / (seen.sum(-1, keepdim=True) + count * 1e-6)


@pytest.mark.parametrize('size', [(4, 6), (7, 3), (1, 5)])
def test_equals_the_equation_with_gradients(equals_the_equation, size):
    equals_the_equation('rala', lambda t: F.elu(t) + 1, weigh, size)


def test_any_partition_and_order_merges_to_the_same_state():
    torch.manual_seed(0)
    mixer = RankAugmentedLinearAttention(16, 2).double()
    x = 20 * torch.randn(2, 12 * 3, 16, dtype=torch.float64)
    grid = Grid.whole(12, 3)
    whole = [mixer.write(x, grid)]
    whole.append(mixer.write(x, grid, whole[0]))
    for cuts in ((0, 5, 12), (0, 1, 2, 12), tuple(range(13))):
        pieces = [(x[:, 3 * i : 3 * j], Grid(12, 3, i, j)) for i, j in itertools.pairwise(cuts)]
        state = None
        for expected in whole:
            states = [mixer.write(*piece, state) for piece in pieces]
            state = mixer.merge([mixer.merge(states[1:][::-1]), states[0]])
            assert state.count == 36
            assert torch.allclose(state.key, expected.key, rtol=1e-12)
            assert torch.allclose(state.kv, expected.kv, rtol=1e-11, atol=1e-13)


def test_a_token_that_fits_the_mean_query_outweighs_the_others():
    torch.manual_seed(0)
    mixer = RankAugmentedLinearAttention(16, 2)
    x = torch.randn(1, 30, 16)
    grid = Grid.whole(5, 6)
    mean_query = mixer.write(x, grid)
    tokens = mixer.project(x, grid)
    fitting = tokens.k.clone()
    fitting[:, 7] = 50 * mean_query.key
    state = mixer.write_projected(
        SimpleNamespace(q=tokens.q, k=fitting, v=tokens.v, rotation=tokens.rotation), mean_query
    )
    assert torch.allclose(state.key, fitting[:, 7], rtol=1e-4)
