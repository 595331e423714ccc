"""Effective ranks, what gating does to the KV state, and ranks of a backbone's layers."""

import json

import pytest
import torch

from saga_mm.analysis.rank import collect_ranks, effective_rank, energy_rank, kv_map, write_whole
from saga_mm.analysis.rank_report import header, plot_ranks, rank_rows, write_json
from saga_mm.models.attention import build_attention
from saga_mm.models.backbones import PVT
from saga_mm.ops import Grid

TINY = {
    'embed_dims': (8, 16),
    'depths': (1, 2),
    'num_heads': (1, 2),
    'mlp_ratios': (2, 2),
    'sr_ratios': (2, 1),
}


def with_values(values, shape):
    """A matrix with these singular values."""
    left, _ = torch.linalg.qr(torch.randn(shape[0], len(values), dtype=torch.float64))
    right, _ = torch.linalg.qr(torch.randn(shape[1], len(values), dtype=torch.float64))
    return left @ torch.tensor(values, dtype=torch.float64).diag() @ right.T


@pytest.mark.parametrize(('values', 'effective', 'energy'), [((2, 2, 2, 2), 4, 4), ((5,), 1, 1), ((3, 3, 0), 2, 2)])
def test_ranks_of_known_singular_values(values, effective, energy):
    matrix = with_values([float(value) for value in values], (9, 6))
    assert effective_rank(matrix).item() == pytest.approx(effective)
    assert energy_rank(matrix, 0.9).item() == energy
    # neither depends on the scale, and both take stacks
    stack = torch.stack([matrix, 1e-9 * matrix, 0 * matrix])
    assert torch.allclose(effective_rank(stack), torch.tensor([effective, effective, 0], dtype=torch.float64))
    assert energy_rank(stack).tolist() == [energy, energy, 0]


def test_ranks_of_uneven_singular_values():
    matrix = with_values([3.0, 1.0], (4, 4))
    assert effective_rank(matrix).item() == pytest.approx(4 / 3**0.75)
    # the first holds 9 tenths of the sum of squares
    assert [energy_rank(matrix, share).item() for share in (0.89, 0.91)] == [1, 2]
    with pytest.raises(ValueError, match='share=0 must be above 0'):
        energy_rank(matrix, 0)


def kv_rank(gates, rank, seed):
    torch.manual_seed(seed)
    mixer = build_attention({'type': 'saga', 'gates': gates, 'gate_bias': 0.0}, 64, 1)
    torch.manual_seed(seed)
    tokens = torch.randn(784, rank) @ torch.randn(rank, 64) * rank**-0.5 + 0.02 * torch.randn(784, 64)
    for weight in (mixer.kv.weight, *(p for p in mixer.gates.parameters() if p.ndim == 2)):
        torch.nn.init.normal_(weight, std=64**-0.5)
    with torch.no_grad():
        return effective_rank(kv_map(write_whole(mixer, tokens[None], Grid.whole(28, 28)))).item()


@pytest.mark.parametrize('rank', [4, 8, 16])
def test_gating_both_sides_raises_the_rank_of_the_state_and_gating_keys_alone_does_not(rank):
    none, key, value, both = (
        sum(kv_rank(gates, rank, seed) for seed in range(4)) / 4 for gates in ('none', 'key', 'value', 'both')
    )
    assert none < 1.2 * rank
    assert abs(key / none - 1) < 0.03
    assert both > 1.4 * none and value > 1.35 * none and both > value


def test_layers_of_a_backbone():
    net = PVT(TINY, attention=['saga', 'softmax'], out_indices=(0, 1)).eval()
    images = torch.randn(2, 3, 40, 56)
    expected = net(images)
    ranks = collect_ranks(net, images)
    assert [(rank.layer, rank.mixer) for rank in ranks] == [
        ('1.1', 'SAGAAttention'),
        ('2.1', 'SoftmaxAttention'),
        ('2.2', 'SoftmaxAttention'),
    ]
    assert (ranks[0].state_size, ranks[0].output_size, ranks[1].output_size) == (8, 8, 16)
    assert ranks[1].state_effective is None and ranks[1].state_size is None
    assert 1 <= ranks[0].state_effective <= 8 and 1 <= ranks[0].output_energy <= 8
    # the hooks are gone, and a mean over images is a mean
    assert all(map(torch.equal, net(images), expected))
    single = [collect_ranks(net, image[None])[0].output_effective for image in images]
    assert ranks[0].output_effective == pytest.approx(sum(single) / 2)


@pytest.mark.parametrize('name', ['linear', 'focused', 'rala', 'mala'])
def test_the_state_that_is_measured_is_the_one_that_is_read(name):
    mixer, grid = build_attention(name, 16, 2).eval(), Grid.whole(3, 5)
    x = torch.randn(2, 15, 16)
    with torch.no_grad():
        state = write_whole(mixer, x, grid)
        assert kv_map(state).shape == (2, 2, 8, 8)
        assert torch.allclose(mixer.read(x, grid, state), mixer(x, grid), atol=1e-6)


def test_table_curves_and_json(tmp_path):
    images = torch.randn(1, 3, 32, 32)
    nets = {name: PVT(TINY, attention=name, out_indices=(1,)).eval() for name in ('saga', 'softmax')}
    ranks = {name: collect_ranks(net, images) for name, net in nets.items()}
    rows = rank_rows(ranks)
    assert [row[:2] for row in rows[:3]] == [('1.1', 'saga'), ('1.1', 'softmax'), ('2.1', 'saga')]
    assert all(len(row) == len(header(0.9)) for row in rows) and rows[1][2:4] == ('-', '-')
    stored = json.loads(write_json(ranks, tmp_path / 'ranks.json', {'model': 'x'}).read_text())
    assert stored['model'] == 'x' and stored['ranks']['softmax'][2]['layer'] == '2.2'
    assert plot_ranks(ranks, tmp_path / 'both.png', 'title').stat().st_size > 10_000
    # no state at all
    assert plot_ranks({'softmax': ranks['softmax']}, tmp_path / 'one.png', 'title').is_file()
