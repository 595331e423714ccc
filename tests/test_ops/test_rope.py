import math

import pytest
import torch

from saga_mm.ops import Grid, rope, rotation_2d


def written_out(x, grid):
    """Every pair of channels turned by hand."""
    out = x.clone()
    quarter = x.shape[-1] // 4
    for n in range(x.shape[1]):
        places = grid.start + n // grid.width, n % grid.width
        for half, place in enumerate(places):
            for m in range(quarter):
                angle = place * 10000 ** -(m / max(quarter - 1, 1))
                i = 2 * (half * quarter + m)
                a, b = x[:, n, :, i], x[:, n, :, i + 1]
                out[:, n, :, i] = a * math.cos(angle) - b * math.sin(angle)
                out[:, n, :, i + 1] = b * math.cos(angle) + a * math.sin(angle)
    return out


@pytest.mark.parametrize('captured', [False, True])
@pytest.mark.parametrize('head_dim', [4, 8, 24])
@pytest.mark.parametrize('grid', [Grid.whole(3, 5), Grid(9, 4, 2, 7), Grid.whole(1, 1)])
def test_equals_every_pair_turned_by_hand(monkeypatch, head_dim, grid, captured):
    monkeypatch.setattr(rope, 'captures_graph', lambda: captured)
    x = torch.randn(2, grid.rows * grid.width, 3, head_dim, dtype=torch.float64)
    assert torch.allclose(rotation_2d(grid, head_dim, x)(x), written_out(x, grid), rtol=1e-12, atol=1e-12)


def test_lengths_stay_and_products_depend_on_the_distance_alone():
    grid = Grid.whole(6, 7)
    q, k = torch.randn(2, 1, 1, 2, 16, dtype=torch.float64).expand(2, 1, 42, 2, 16)
    turn = rotation_2d(grid, 16, q)
    assert torch.allclose(turn(q).norm(dim=-1), q.norm(dim=-1))
    products = torch.einsum('bihd,bjhd->bhij', turn(q), turn(k)).unflatten(2, (6, 7)).unflatten(4, (6, 7))
    assert torch.allclose(products[:, :, 0, 1, 2, 5], products[:, :, 3, 2, 5, 6])
    assert not torch.allclose(products[:, :, 0, 1, 2, 5], products[:, :, 2, 5, 0, 1])


def test_a_piece_keeps_its_rows_of_the_whole_map():
    x = torch.randn(1, 20, 2, 8)
    whole = rotation_2d(Grid.whole(5, 4), 8, x)(x)
    piece = rotation_2d(Grid(5, 4, 2, 4), 8, x)(x[:, 8:16])
    assert torch.equal(piece, whole[:, 8:16])


@pytest.mark.parametrize(
    ('dtype', 'tolerance'), [(torch.float16, 4e-3), (torch.bfloat16, 3e-2), (torch.float32, 2e-3), (torch.float64, 0)]
)
def test_half_precision_rounds_the_result_and_not_the_angles(dtype, tolerance):
    grid = Grid(2048, 1, 1536, 2048)
    x = torch.rand(1, 512, 1, 8, dtype=torch.float64).to(dtype)
    out = rotation_2d(grid, 8, x)(x)
    assert out.dtype == dtype
    assert (out - rotation_2d(grid, 8, x.double())(x.double())).abs().max() <= tolerance


@pytest.mark.parametrize('head_dim', [0, 2, 6, 30])
def test_channels_must_come_in_fours(head_dim):
    with pytest.raises(ValueError, match=f'4 divides, got {head_dim}'):
        rotation_2d(Grid.whole(2, 2), head_dim, torch.zeros(1))
