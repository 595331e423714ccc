"""The reference itself, against the equation written out for single tokens."""

import torch

from saga_mm.ops import Gates, linear_attention_reference


def test_one_head_of_one_channel_by_hand():
    q, k, v = (torch.tensor(numbers).view(1, -1, 1, 1) for numbers in ([1.0, 2.0], [1.0, 3.0, -5.0], [10.0, 20.0, 7.0]))
    # ReLU leaves the third key out; the mean of (1 * 10, 3 * 20, 0) over that of (1, 3, 0)
    out = linear_attention_reference(q, k, v, eps=0)
    assert out.dtype == torch.float64 and out.flatten().tolist() == [17.5, 17.5]
    # without normaliser the query counts
    assert linear_attention_reference(q, k, v, normalizer='none').flatten().tolist() == [70 / 3, 140 / 3]


def test_gates_act_on_keys_values_and_normaliser():
    q, k, v = torch.ones(1, 1, 1, 1), torch.ones(1, 2, 1, 1), torch.tensor([10.0, 20.0]).view(1, 2, 1, 1)
    gates = Gates(torch.tensor([1.0, 0.5]).view(1, 2, 1, 1), torch.tensor([0.5, 1.0]).view(1, 2, 1, 1))
    # (1 * 0.5 * 10 + 0.5 * 1 * 20) over two keys, or over 1 + 0.5
    assert linear_attention_reference(q, k, v, gates, eps=0).item() == 7.5
    assert linear_attention_reference(q, k, v, gates, eps=0, normalizer='gated').item() == 10
    closed = Gates(gates.key, gates.value, act='sigmoid')
    both = [gate.double().sigmoid() for gate in (gates.key, gates.value)]
    wanted = (both[0] * both[1] * v).sum() / 2
    assert abs(linear_attention_reference(q, k, v, closed, eps=0).item() - wanted.item()) < 1e-12


def test_weights_of_tokens_are_shares():
    q, k, v = torch.ones(1, 1, 1, 1), torch.ones(1, 2, 1, 1), torch.tensor([10.0, 20.0]).view(1, 2, 1, 1)
    # three to one, whatever they add up to
    for more in (0.0, 50.0):
        logs = torch.tensor([3.0, 1.0]).double().log().view(1, 2, 1) + more
        out = linear_attention_reference(q, k, v, Gates(log_weights=logs), eps=0)
        assert abs(out.item() - 12.5) < 1e-6


def test_a_rotation_turns_queries_and_keys_and_not_the_normaliser():
    q, k, v = (torch.rand(1, tokens, 1, 2) + 0.1 for tokens in (1, 1, 1))
    quarter = torch.tensor([[0.0, -1.0], [1.0, 0.0]], dtype=torch.float64)
    plain = linear_attention_reference(q, k, v, eps=0)
    torch.testing.assert_close(linear_attention_reference(q, k, v, eps=0, rotate=lambda x: x @ quarter), plain)
    torch.testing.assert_close(plain, v.double())
