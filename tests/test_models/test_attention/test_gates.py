"""The gates of keys and values, against their layers."""

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from saga_mm.models.attention.gates import ACTIVATIONS, GateOptions, OuterProductGates

DIMS, HEADS = 12, 3


def build(**options) -> OuterProductGates:
    gates = OuterProductGates(DIMS, HEADS, GateOptions(**options)).double()
    for parameter in gates.parameters():
        nn.init.normal_(parameter)
    return gates


def tokens() -> list[torch.Tensor]:
    return list(torch.randn(3, 2, 5, DIMS, dtype=torch.float64))


def test_both_gates_come_from_one_layer_of_the_input():
    gates, (x, k, v) = build(), tokens()
    ((key, value),) = gates(x, k, v)
    wanted = F.linear(x, gates.proj[0].weight, gates.proj[0].bias).sigmoid().view(2, 5, 2, HEADS, 4)
    torch.testing.assert_close(key, wanted[:, :, 0])
    torch.testing.assert_close(value, wanted[:, :, 1])


def test_gates_from_keys_and_values_do_not_see_the_input():
    gates, (x, k, v) = build(source='kv', rank=2), tokens()
    terms = gates(x, k, v)
    assert len(terms) == 2
    for term, other in zip(terms, gates(-x, k, v)):
        assert all(map(torch.equal, term, other))
    wanted = gates.proj['value'](v).sigmoid().view(2, 5, 2, HEADS, 4)
    torch.testing.assert_close(terms[1][1], wanted[:, :, 1])
    # a key gate of the keys alone
    assert torch.equal(gates(x, k, -v)[0][0], terms[0][0]) and not torch.equal(gates(x, -k, v)[0][0], terms[0][0])


def test_low_rank_has_the_parameters_of_two_thin_layers():
    gates, (x, k, v) = build(source='low_rank', hidden=2, sides='key'), tokens()
    assert [layer.weight.shape for layer in gates.proj] == [(2, DIMS), (DIMS, 2)]
    ((key, value),) = gates(x, k, v)
    assert value is None
    torch.testing.assert_close(key, gates.proj[1](gates.proj[0](x)).sigmoid().view(2, 5, HEADS, 4))


def test_a_shared_gate_is_one_of_all_heads():
    ((key, value),) = build(shared=True)(*tokens())
    assert key.shape == value.shape == (2, 5, 1, 4)


@pytest.mark.parametrize('act', ACTIVATIONS)
def test_logits_are_what_the_activation_is_given(act):
    gates, given = build(act=act, sides='value'), tokens()
    ((_, value),), ((_, logit),) = gates(*given), gates(*given, logits=True)
    torch.testing.assert_close(value, ACTIVATIONS[act](logit))
    assert (act == 'sigmoid') == torch.equal(value, logit.sigmoid())


@pytest.mark.parametrize('options', [{'sides': 'none'}, {'act': 'identity'}], ids=str)
def test_no_gates_have_no_parameters(options):
    gates = build(**options)
    assert gates(*tokens()) == [(None, None)] and not list(gates.parameters())


def test_gates_start_at_their_bias():
    gates = OuterProductGates(DIMS, HEADS, GateOptions(bias=-1.5))
    ((key, value),) = gates(*[torch.zeros(1, 2, DIMS)] * 3)
    for gate in (key, value):
        torch.testing.assert_close(gate, torch.full((1, 2, HEADS, 4), -1.5).sigmoid())
