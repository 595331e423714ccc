"""Token mixers whose states are written and read by kernels."""

import pytest
import torch

from saga_mm.models.attention import LinearAttention, SAGAAttention
from saga_mm.ops import Grid, fused_kernels, fused_operators

MIXERS = [
    (SAGAAttention, {}),
    (SAGAAttention, {'gates': 'value', 'gate_shared': True, 'normalizer': 'gated'}),
    (SAGAAttention, {'gate_act': '1+tanh', 'gate_rank': 2, 'local_kernel': 0}),
    (SAGAAttention, {'sr_ratio': 2, 'feature_map': 'elu+1'}),
    (LinearAttention, {'normalizer': 'none'}),
]


@pytest.mark.parametrize(('mixer', 'options'), MIXERS)
def test_the_same_answers_and_gradients(mixer, options, device, monkeypatch):
    torch.manual_seed(0)
    net = mixer(64, 2, **options).to(device)
    grid = Grid.whole(6, 7)
    x = torch.randn(2, 42, 64, device=device)
    calls = []
    for name in ('write_state', 'read_state'):
        kernel = getattr(fused_operators, name)
        monkeypatch.setattr(
            fused_operators, name, lambda *args, kernel=kernel, name=name: calls.append(name) or kernel(*args)
        )
    answers = []
    for enabled in (False, True):
        tokens = x.clone().requires_grad_()
        with fused_kernels(enabled):
            out = net(tokens, grid)
            grads = torch.autograd.grad(out.square().sum(), [tokens, *net.parameters()])
        answers.append([out, *grads])
        assert bool(calls) == enabled
    assert set(calls) == {'write_state', 'read_state'}
    for plain, fused in zip(*answers, strict=True):
        assert (plain - fused).norm() <= 1e-5 * plain.norm()


def test_the_kernels_are_given_logits(device, monkeypatch):
    seen = []
    write = fused_operators.write_state
    monkeypatch.setattr(fused_operators, 'write_state', lambda *args: seen.append(args[2:6]) or write(*args))
    net = SAGAAttention(64, 2).to(device)
    x = torch.zeros(1, 4, 64, device=device)
    net(x, Grid.whole(2, 2))
    key_gate, value_gate, feature_map, act = seen[-1]
    # the initial bias of the gates
    assert (feature_map, act) == ('relu', 'sigmoid')
    assert torch.equal(key_gate, torch.full_like(key_gate, 2.0)) and torch.equal(value_gate, key_gate)
