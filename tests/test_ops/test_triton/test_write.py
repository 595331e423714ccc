"""The kernel that writes a state, held against the plain operation in float64."""

import pytest
import torch

from saga_mm.ops import Gates, fused, write_state

ALL = ('k', 'v', 'key_gate', 'value_gate')


def draw(device, tokens=130, sizes=(64, 64), dtype=torch.float32, gates='both', heads=2, batch=2, seed=0):
    """Keys, values and gates by name, without those that are not asked for."""
    random = torch.Generator().manual_seed(seed)
    shared = gates == 'shared'
    drawn = {}
    for name, size, wanted in zip(ALL, sizes * 2, (True, True, gates in ('key', 'both'), gates in ('value', 'both'))):
        if wanted or shared:
            width = 1 if shared and name.endswith('gate') else heads
            x = torch.randn(batch, tokens, width, size, generator=random)
            drawn[name] = x.to(device, dtype).requires_grad_()
    return drawn


def plain(tensors, gate_act='sigmoid', **options):
    """State and gradients of the plain operation in float64; the gradients of both means are those of their squares."""
    wide = {name: x.detach().double().requires_grad_() for name, x in tensors.items()}
    gates = Gates(wide.get('key_gate'), wide.get('value_gate'), act=gate_act)
    state = write_state(wide['k'], wide['v'], gates, **options)
    return (state.kv, state.key), gradients(state.kv, state.key, wide)


def gradients(kv, key, tensors):
    return torch.autograd.grad(kv.square().sum() + key.square().sum(), list(tensors.values()))


def check(tensors, assert_near, gate_act='sigmoid', **options):
    dtype = tensors['k'].dtype
    kv, key = fused.write(**tensors, gate_act=gate_act, **options)
    assert kv.dtype == key.dtype == torch.float32
    truth, true_grads = plain(tensors, gate_act, **options)
    assert_near(kv, truth[0], dtype)
    assert_near(key, truth[1], dtype)
    for grad, true, x in zip(gradients(kv, key, tensors), true_grads, tensors.values()):
        assert grad.dtype == x.dtype
        assert_near(grad, true, dtype)


@pytest.mark.parametrize('dtype', [torch.float32, torch.bfloat16, torch.float16], ids=str)
@pytest.mark.parametrize('sizes', [(32, 32), (64, 64), (96, 96), (128, 128), (40, 24)], ids=str)
def test_head_sizes_and_types(device, assert_near, sizes, dtype):
    check(draw(device, sizes=sizes, dtype=dtype, tokens=70, batch=1, heads=1), assert_near)


@pytest.mark.parametrize('gates', ['none', 'key', 'value', 'both', 'shared'])
@pytest.mark.parametrize('gate_act', ['identity', 'sigmoid'])
def test_gates(device, assert_near, gates, gate_act):
    check(draw(device, tokens=50, sizes=(32, 16), gates=gates, batch=1), assert_near, gate_act)


@pytest.mark.parametrize('normalizer', ['plain', 'gated', 'none'])
@pytest.mark.parametrize('feature_map', ['relu', 'elu+1', 'identity'])
def test_maps_and_normalizers(device, assert_near, feature_map, normalizer):
    tensors = draw(device, tokens=40, sizes=(24, 32), batch=1, heads=1)
    check(tensors, assert_near, feature_map=feature_map, normalizer=normalizer)


@pytest.mark.parametrize('tokens', [1, 7, 64, 501])
def test_any_number_of_tokens(device, assert_near, tokens):
    check(draw(device, tokens=tokens, sizes=(32, 32), heads=1, batch=1), assert_near, feature_map='elu+1')


@pytest.mark.filterwarnings('ignore:overflow encountered in exp')
@pytest.mark.parametrize('dtype', [torch.bfloat16, torch.float16], ids=str)
def test_large_numbers_stay_finite(device, assert_near, dtype):
    tensors = draw(device, sizes=(32, 32), heads=1, batch=1, dtype=dtype)
    largest = torch.finfo(torch.float16).max
    # the sum of the keys, of the products, and the products themselves are beyond float16
    tensors = {name: (x * 3e4).clamp(-largest, largest).detach().requires_grad_() for name, x in tensors.items()}
    kv, key = fused.write(tensors['k'], tensors['v'], tensors['key_gate'].sigmoid())
    wide = {name: x.double() for name, x in tensors.items()}
    truth = write_state(wide['k'], wide['v'], Gates(tensors['key_gate'].sigmoid().double()))
    assert_near(kv, truth.kv, dtype)
    assert_near(key, truth.key, dtype)
    kv, key = fused.write(**tensors, gate_act='sigmoid')
    assert all(torch.isfinite(x).all() for x in torch.autograd.grad(kv.sum() + key.sum(), list(tensors.values())))


def test_nan_is_not_swallowed(device):
    tensors = draw(device, tokens=20, gates='none', sizes=(16, 16))
    with torch.no_grad():
        tensors['k'][0, 5, 1, 3] = float('nan')
    kv, key = fused.write(**tensors)
    assert key.isnan().sum() == 1 and kv.isnan().sum() == 16


def test_views_of_projections_need_no_copy(device):
    """Keys and values are chunks of one projection, gates of another; the result is that of contiguous tensors."""
    heads = 3
    joint = torch.randn(2, 33, 2 * heads * 32, device=device, requires_grad=True)
    logits = torch.randn(2, 33, 2 * heads * 32, device=device, requires_grad=True)
    views = [x.unflatten(-1, (heads, 32)) for y in (joint, logits) for x in y.chunk(2, dim=-1)]
    copies = [x.contiguous() for x in views]
    # channels that are not side by side are copied by the operator
    turned = [x.transpose(1, 3).contiguous().transpose(1, 3) for x in views]
    results = []
    for inputs in (views, copies, turned):
        kv, key = fused.write(*inputs, gate_act='sigmoid')
        results.append((kv, key, *torch.autograd.grad(kv.square().sum() + key.sum(), [joint, logits])))
    for others in results[1:]:
        assert all(torch.equal(one, other) for one, other in zip(results[0], others))


def test_same_bits_again(device):
    tensors = draw(device, tokens=300, sizes=(32, 32), dtype=torch.bfloat16, heads=1, batch=1, gates='shared')
    runs = []
    for _ in range(2):
        kv, key = fused.write(**tensors, gate_act='sigmoid')
        runs.append((kv, key, *gradients(kv, key, tensors)))
    assert all(torch.equal(one, other) for one, other in zip(*runs))
