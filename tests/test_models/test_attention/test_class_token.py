"""Tokens that stand nowhere on a map: mixers write and read them beside it."""

import pytest
import torch
import torch.nn.functional as F

from saga_mm.models.attention import build_attention
from saga_mm.ops import Grid

GRID = Grid.whole(3, 5)


def together(mixer, x, token):
    state = None
    for _ in range(mixer.sweeps):
        state = mixer.merge([mixer.write(x, GRID, state), mixer.write(token, None, state)])
    return mixer.read(x, GRID, state), mixer.read(token, None, state)


@pytest.mark.parametrize('name', ['softmax', 'linear', 'saga', 'focused', 'rala', 'mala', 'rope_softmax'])
def test_map_and_token_see_each_other(name):
    offers = {'table_size': (3, 5)} if name == 'focused' else {}
    mixer = build_attention(name, 16, 2, **offers).double()
    x, token = torch.randn(2, 15, 16, dtype=torch.double), torch.randn(2, 1, 16, dtype=torch.double)
    assert mixer.takes_class_token
    mapped, told = together(mixer, x, token)
    assert mapped.shape == x.shape and told.shape == token.shape
    other, _ = together(mixer, x, token + 1)
    assert not torch.allclose(mapped, other)
    _, moved = together(mixer, x + torch.arange(15).view(1, 15, 1) / 9, token)
    assert not torch.allclose(told, moved)


def test_softmax_is_that_of_all_tokens():
    mixer = build_attention('softmax', 16, 2).double()
    x, token = torch.randn(2, 15, 16, dtype=torch.double), torch.randn(2, 1, 16, dtype=torch.double)
    both = torch.cat([token, x], 1)
    q, k, v = (part.unflatten(-1, (2, 8)).transpose(1, 2) for part in (mixer.q(both), *mixer.kv(both).chunk(2, -1)))
    whole = mixer.proj(F.scaled_dot_product_attention(q, k, v).transpose(1, 2).flatten(2))
    mapped, told = together(mixer, x, token)
    torch.testing.assert_close(torch.cat([told, mapped], 1), whole)


def test_linear_is_that_of_all_tokens_without_a_local_branch():
    mixer = build_attention('saga', 16, 2).double()
    x, token = torch.randn(2, 15, 16, dtype=torch.double), torch.randn(2, 1, 16, dtype=torch.double)
    _, told = together(mixer, x, token)
    both = torch.cat([token, x], 1)
    k, v = mixer.kv(both).chunk(2, -1)
    ((a, b),) = mixer.gates(both, k, v)
    q, k, v = (mixer.heads(part) for part in (mixer.q(token), k, v))
    scores = torch.einsum('bihd,bjhd->bijh', q.relu(), a * k.relu())
    sums = torch.einsum('bihd,bjhd->bih', q.relu(), k.relu())
    mixed = torch.einsum('bijh,bjhd->bihd', scores, b * v) / (sums + 16e-6).unsqueeze(-1)
    torch.testing.assert_close(told, mixer.proj(mixed.flatten(2)))


def test_windows_take_none():
    assert not build_attention('window', 16, 2).takes_class_token
