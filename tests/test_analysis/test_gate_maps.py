"""Maps of SAGA's gates."""

import numpy as np
import pytest
import torch

from saga_mm.analysis.gate_maps import collect_gates, gate_rows, plot_gates, stage_maps
from saga_mm.errors import SagaError
from saga_mm.models.backbones import PVT

TINY = {
    'embed_dims': (8, 16),
    'depths': (2, 1),
    'num_heads': (1, 2),
    'mlp_ratios': (2, 2),
    'sr_ratios': (2, 1),
}


def build(**options):
    return PVT(TINY, attention={'type': 'saga', **options}, out_indices=(0, 1)).eval()


@pytest.mark.parametrize('options', [{}, {'gate_rank': 2}, {'gate_shared': True}, {'gate_source': 'kv'}], ids=str)
def test_maps_lie_where_the_tokens_lie(options):
    net = build(**options)
    image = torch.zeros(1, 3, 40, 56)
    expected = net(image)
    gates = collect_gates(net, image)
    assert [each.layer for each in gates] == ['1.1', '1.2', '2.1'] and gates[2].stage == '2'
    assert [tuple(each.product.shape) for each in gates] == [(10, 14), (10, 14), (5, 7)]
    # sigmoid(2) at the start, whatever the token
    assert torch.allclose(gates[0].key, torch.full((10, 14), 0.8808), atol=0.05)
    assert torch.allclose(gates[0].product, gates[0].key * gates[0].value, atol=1e-3)
    assert all(map(torch.equal, net(image), expected))


def test_a_gate_that_opens_for_bright_tokens():
    net = build()
    image = torch.full((1, 3, 32, 32), -1.0)
    image[:, :, :, 16:] = 1.0
    for stage in net.stages:
        for block in stage.blocks:
            torch.nn.init.zeros_(block.attn.gates.proj[-1].bias)
    token = net.stages[0].embed(image)[0]
    block = net.stages[0].blocks[0]
    x = block.norm1(token + net.stages[0].position(net.stages[0].embed(image)[1]))
    with torch.no_grad():
        # the gates of keys look along the difference of bright and dark tokens, the others stay half open
        weight = torch.zeros(16, 8)
        weight[:8] = 10 * (x[0, 7] - x[0, 0])
        block.attn.gates.proj[-1].weight.copy_(weight)
    first = collect_gates(net, image)[0]
    assert first.key[:, 4:].mean() > first.key[:, :4].mean() + 0.2
    assert torch.allclose(first.value, torch.full((8, 8), 0.5))


def test_a_side_without_gates_and_shortened_keys():
    gates = collect_gates(build(gates='key', sr_ratio=2), torch.randn(1, 3, 36, 36))
    assert gates[0].value is None and torch.equal(gates[0].product, gates[0].key)
    assert gates[0].key.shape == (5, 5)
    assert [row[2] for row in gate_rows(gates)] == ['not gated'] * 3


@pytest.mark.parametrize('attention', ['softmax', {'type': 'saga', 'gates': 'none'}], ids=str)
def test_a_model_without_gates_says_so(attention):
    net = PVT(TINY, attention=attention, out_indices=(0, 1)).eval()
    with pytest.raises(SagaError, match='has no gates to show: its attention is S'):
        collect_gates(net, torch.zeros(1, 3, 32, 32))


def test_drawing_one_row_for_each_stage(tmp_path):
    gates = collect_gates(build(), torch.randn(1, 3, 32, 48))
    stages = stage_maps(gates)
    assert list(stages) == ['1', '2']
    assert torch.allclose(stages['1']['key'], (gates[0].key + gates[1].key) / 2)
    picture = np.zeros((64, 96, 3), np.uint8)
    assert plot_gates(gates, picture, tmp_path / 'gates.png', 'title').stat().st_size > 10_000
    key_only = collect_gates(build(gates='key'), torch.randn(1, 3, 32, 48))
    assert plot_gates(key_only, picture, tmp_path / 'key.png', 'title').is_file()
