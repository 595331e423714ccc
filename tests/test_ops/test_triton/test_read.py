"""The kernel that reads a state, held against the plain operation in float64."""

import pytest
import torch

from saga_mm.ops import KVState, fused, read_state


def draw(device, tokens=130, sizes=(64, 64), dtype=torch.float32, heads=2, batch=2, seed=0):
    """Queries and the two parts of a state with positive means of keys."""
    random = torch.Generator().manual_seed(seed)
    q = torch.randn(batch, tokens, heads, sizes[0], generator=random).to(device, dtype)
    kv = torch.randn(batch, heads, *sizes, generator=random).to(device)
    key = (torch.rand(batch, heads, sizes[0], generator=random) + 0.1).to(device)
    return [x.requires_grad_() for x in (q, kv, key)]


def gradients(out, inputs):
    steps = torch.linspace(-1, 1, out.numel(), dtype=torch.float64, device=out.device).view(out.shape)
    return torch.autograd.grad((out * steps.to(out.dtype)).sum(), inputs, materialize_grads=True)


def check(inputs, assert_near, **options):
    dtype = inputs[0].dtype
    out = fused.read(*inputs, **options)
    assert out.dtype == dtype
    wide = [x.detach().double().requires_grad_() for x in inputs]
    truth = read_state(wide[0], KVState(wide[1], wide[2], 1), **options)
    assert_near(out, truth, dtype)
    for grad, true, x in zip(gradients(out, inputs), gradients(truth, wide), inputs):
        assert grad.dtype == x.dtype
        assert_near(grad, true, dtype)


@pytest.mark.parametrize('dtype', [torch.float32, torch.bfloat16, torch.float16], ids=str)
@pytest.mark.parametrize('sizes', [(32, 32), (64, 64), (96, 96), (128, 128), (40, 24)], ids=str)
def test_head_sizes_and_types(device, assert_near, sizes, dtype):
    check(draw(device, sizes=sizes, dtype=dtype, tokens=70, batch=1, heads=1), assert_near)


@pytest.mark.parametrize('normalizer', ['plain', 'gated', 'none'])
@pytest.mark.parametrize('feature_map', ['relu', 'elu+1', 'identity'])
def test_maps_and_normalizers(device, assert_near, feature_map, normalizer):
    q, kv, key = draw(device, tokens=40, sizes=(24, 32), batch=1, heads=1)
    if feature_map == 'identity':
        # for those that map before: no norm near 0
        q = q.detach().abs().requires_grad_()
    check([q, kv, key], assert_near, feature_map=feature_map, normalizer=normalizer, eps=1e-3)


@pytest.mark.parametrize('tokens', [1, 7, 64, 501])
def test_any_number_of_queries(device, assert_near, tokens):
    check(draw(device, tokens=tokens, sizes=(32, 32), heads=1, batch=1), assert_near, feature_map='elu+1')


@pytest.mark.parametrize('dtype', [torch.bfloat16, torch.float16], ids=str)
def test_large_numbers_stay_finite(device, assert_near, dtype):
    q, kv, key = draw(device, tokens=40, sizes=(32, 32), dtype=dtype, batch=1)
    largest = torch.finfo(torch.float16).max
    # the state of keys and values of the largest numbers of float16: every answer is one of them again
    kv = (torch.ones_like(kv) * largest * largest).requires_grad_()
    key = (torch.ones_like(key) * largest).requires_grad_()
    q = torch.full_like(q, largest).requires_grad_()
    out = fused.read(q, kv, key)
    assert_near(out, torch.full_like(out, largest), dtype)
    assert all(torch.isfinite(grad).all() for grad in gradients(out, (q, kv, key)))


def test_a_query_that_maps_to_nothing(device, assert_near):
    q, kv, key = draw(device, tokens=20, sizes=(16, 16))
    with torch.no_grad():
        q[:, 3] = -1
    check([q, kv, key], assert_near)
    assert (fused.read(q, kv, key)[:, 3] == 0).all()


def test_views_of_projections_need_no_copy(device):
    _, kv, key = draw(device, tokens=33, sizes=(32, 32), heads=3)
    joint = torch.randn(2, 33, 2, 3 * 32, device=device)
    views = [joint[:, :, 1].unflatten(-1, (3, 32)).requires_grad_(), kv.mT, key]
    copies = [x.detach().contiguous().requires_grad_() for x in views]
    results = []
    for inputs in (views, copies):
        out = fused.read(*inputs)
        # a gradient without strides of its own
        results.append((out, *torch.autograd.grad(out.sum(), inputs)))
    assert all(torch.equal(one, other) for one, other in zip(*results))


def test_same_bits_again(device):
    inputs = draw(device, tokens=300, sizes=(32, 32), dtype=torch.bfloat16, heads=1, batch=1)
    runs = []
    for _ in range(2):
        out = fused.read(*inputs)
        runs.append((out, *gradients(out, inputs)))
    assert all(torch.equal(one, other) for one, other in zip(*runs))
