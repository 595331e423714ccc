"""The additive state against the equation, token pair by token pair."""

import itertools

import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode

from saga_mm.analysis import measure_cost
from saga_mm.ops import (
    FEATURE_MAPS,
    Gates,
    Grid,
    linear_attention,
    linear_attention_reference,
    merge_states,
    read_key,
    read_state,
    rotation_2d,
    write_mean,
    write_state,
)
from saga_mm.ops.linear_attention import NORMALIZERS


def make_inputs(batch=2, queries=7, tokens=13, heads=3, d_k=4, d_v=5, dtype=torch.float64, seed=0, grad=False):
    draw = torch.Generator().manual_seed(seed)
    shapes = [(batch, queries, heads, d_k), (batch, tokens, heads, d_k), (batch, tokens, heads, d_v)]
    q, k, v = (torch.randn(*s, generator=draw, dtype=torch.float64).to(dtype) for s in shapes)
    a, b = (torch.rand(*s, generator=draw, dtype=torch.float64).to(dtype) for s in shapes[1:])
    tensors = [q, k, v, a, b]
    return [t.requires_grad_() for t in tensors] if grad else tensors


def write(k, v, a=None, b=None, logs=None, **options):
    return write_state(k, v, Gates(a, b, logs), **options)


def attend(q, k, v, a=None, b=None, logs=None, **options):
    return linear_attention(q, k, v, Gates(a, b, logs), **options)


def attend_by_pairs(q, k, v, a=None, b=None, logs=None, **options):
    return linear_attention_reference(q, k, v, Gates(a, b, logs), **options)


def relative(x, y):
    return ((x.double() - y.double()).norm() / y.double().norm()).item()


# a signed kernel has no normaliser
MAPS_AND_NORMALIZERS = [
    (name, normalizer)
    for name in FEATURE_MAPS
    for normalizer in NORMALIZERS
    if name != 'identity' or normalizer == 'none'
]


@pytest.mark.parametrize(('feature_map', 'normalizer'), MAPS_AND_NORMALIZERS)
@pytest.mark.parametrize('gates', ['both', 'key', 'value', 'none'])
def test_equals_reference_with_gradients(feature_map, normalizer, gates):
    results = []
    for function in (attend, attend_by_pairs):
        q, k, v, a, b = make_inputs(grad=True)
        used = [q, k, v, a if gates in ('both', 'key') else None, b if gates in ('both', 'value') else None]
        out = function(*used, feature_map=feature_map, normalizer=normalizer)
        weights = torch.linspace(-1, 1, out.numel(), dtype=out.dtype).view_as(out)
        grads = torch.autograd.grad((out * weights).sum(), [t for t in used if t is not None])
        results.append((out, *grads))
    for fast, slow in zip(*results, strict=True):
        assert relative(fast, slow) < 1e-10


@pytest.mark.parametrize('normalizer', NORMALIZERS)
@pytest.mark.parametrize('weighted', [False, True])
def test_rotations_and_token_weights_equal_the_reference_with_gradients(normalizer, weighted):
    results = []
    for function in (attend, attend_by_pairs):
        q, k, v, a, b = make_inputs(queries=12, tokens=12, grad=True)
        logs = (3 * k.detach().sum(-1)).requires_grad_() if weighted else None
        turn = rotation_2d(Grid.whole(3, 4), 4, q)
        used = [t for t in (q, k, v, a, b, logs) if t is not None]
        out = function(*used, feature_map='elu+1', normalizer=normalizer, rotate=turn)
        pull = torch.linspace(-1, 1, out.numel(), dtype=out.dtype).view_as(out)
        results.append((out, *torch.autograd.grad((out * pull).sum(), used)))
    for fast, slow in zip(*results, strict=True):
        assert relative(fast, slow) < 1e-10


@pytest.mark.parametrize('sizes', [(1, 12), (4, 9), (1, 1, 5, 6), (1,) * 13])
@pytest.mark.parametrize('scale', [1, 300])
def test_any_partition_of_weighted_tokens_sums_to_the_whole(sizes, scale):
    _, k, v, a, b = make_inputs()
    parts = k, v, a, b, scale * k.sum(-1)
    whole = write(*parts)
    states = [write(*part) for part in zip(*(t.split(sizes, dim=1) for t in parts), strict=True)]
    for order in itertools.islice(itertools.permutations(states), 6):
        for merged in (merge_states(order), merge_states([merge_states(order[:1]), merge_states(order[1:])])):
            assert merged.count == 13
            for name in ('kv', 'key', 'log_weight'):
                assert relative(getattr(merged, name), getattr(whole, name)) < 1e-12


def test_equal_weights_are_no_weights():
    q, k, v, a, b = make_inputs()
    assert relative(attend(q, k, v, a, b, k.new_full((2, 13, 3), -7.0)), attend(q, k, v, a, b)) < 1e-12


def test_states_with_and_without_weights_do_not_add():
    _, k, v, *_ = make_inputs()
    with pytest.raises(ValueError, match='with and without token weights'):
        merge_states([write(k, v), write(k, v, logs=k.sum(-1))])


def test_a_mean_and_a_key_alone():
    q, k, v, *_ = make_inputs()
    assert relative(merge_states([write_mean(k[:, :4]), write_mean(k[:, 4:])]).key, k.mean(1)) < 1e-12
    seen = torch.einsum('bihd,bhd->bih', q.relu(), k.relu().mean(1)).unsqueeze(-1)
    assert relative(read_key(q, write(k, v)), seen) < 1e-12


def test_gradcheck():
    # away from the kink of ReLU, where finite differences mean nothing
    q, k, v, a, b = (t.detach().abs() + 0.1 for t in make_inputs(1, 3, 4, 2, 3, 2))
    assert torch.autograd.gradcheck(attend, [t.requires_grad_() for t in (q, k, v, a, b)])


def test_float32_is_close_to_the_reference():
    inputs = make_inputs(queries=50, tokens=2048, d_k=32, d_v=32, dtype=torch.float32)
    assert relative(attend(*inputs), attend_by_pairs(*inputs)) < 1e-5


@pytest.mark.parametrize('sizes', [(13,), (1, 12), (4, 9), (1, 1, 5, 6), (1,) * 13])
@pytest.mark.parametrize('normalizer', NORMALIZERS)
def test_any_partition_of_the_tokens_sums_to_the_whole(sizes, normalizer):
    q, k, v, a, b = make_inputs()
    whole = write(k, v, a, b, normalizer=normalizer)
    parts = [t.split(sizes, dim=1) for t in (k, v, a, b)]
    states = [write(*part, normalizer=normalizer) for part in zip(*parts, strict=True)]
    for order in itertools.islice(itertools.permutations(states), 6):
        merged = merge_states(order)
        assert merged.count == whole.count == 13
        assert relative(merged.kv, whole.kv) < 1e-12
        assert relative(merged.key, whole.key) < 1e-12
    nested = merge_states([merge_states(states[:2]), *states[2:]])
    out = attend(q, k, v, a, b, normalizer=normalizer)
    assert relative(read_state(q, nested, normalizer=normalizer), out) < 1e-12


def test_permuting_the_tokens_permutes_the_output():
    _, k, v, a, b = make_inputs(d_v=4)
    order = torch.randperm(13, generator=torch.Generator().manual_seed(1))
    out = attend(k, k, v, a, b)
    shuffled = attend(*(t[:, order] for t in (k, k, v, a, b)))
    assert relative(shuffled, out[:, order]) < 1e-12
    assert relative(shuffled, out) > 1e-3


HALF = [(dtype, 4096, name) for dtype in (torch.float16, torch.bfloat16) for name in ('relu', 'elu+1', 'focused')]
# a sum over as many is beyond float16
HALF += [(torch.float16, 131_072, 'relu'), (torch.bfloat16, 131_072, 'elu+1'), (torch.float16, 131_072, 'focused')]


@pytest.mark.parametrize(('dtype', 'tokens', 'feature_map'), HALF)
def test_half_precision_stays_finite_at_many_tokens_and_large_activations(dtype, tokens, feature_map):
    draw = torch.Generator().manual_seed(0)
    q, k, v = (8 * torch.randn(1, tokens, 2, 8, generator=draw) for _ in range(3))
    k[:, :64] = -k[:, :64].abs()
    q[:, :64] = -q[:, :64].abs()
    k, v, q = (t.to(dtype).requires_grad_() for t in (k, v, q))
    state = write(k, v, feature_map=feature_map)
    assert state.kv.dtype == state.key.dtype == torch.float32
    out = read_state(q, state, feature_map=feature_map)
    assert out.dtype == dtype
    out.float().square().mean().backward()
    assert all(t.isfinite().all() for t in (out, q.grad, k.grad, v.grad))
    few = torch.cat([q[:, :32], q[:, 64:96]], dim=1)
    exact = attend_by_pairs(few, k, v, feature_map=feature_map)
    assert relative(read_state(few, state, feature_map=feature_map), exact) < (2e-3 if dtype == torch.float16 else 2e-2)


def test_autocast_does_not_lower_the_precision_of_the_state():
    q, k, v, a, b = make_inputs(dtype=torch.float32)
    with torch.autocast('cpu', dtype=torch.bfloat16):
        state = write(k, v, a, b)
        out = read_state(q, state)
    assert state.kv.dtype == out.dtype == torch.float32
    assert torch.equal(out, attend(q, k, v, a, b))


def test_float64_stays_float64():
    q, k, v, a, b = make_inputs()
    assert write(k, v, a, b).kv.dtype == torch.float64
    assert attend(q, k, v, a, b).dtype == torch.float64


class LargestTensor(TorchDispatchMode):
    """Element count of the largest tensor that any operation returned."""

    largest = 0

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        out = func(*args, **(kwargs or {}))
        for t in out if isinstance(out, tuple | list) else [out]:
            if isinstance(t, torch.Tensor):
                self.largest = max(self.largest, t.numel(), t.untyped_storage().nbytes() // t.element_size())
        return out


def test_no_operation_makes_more_than_one_vector_a_token():
    tokens, heads, dim = 512, 2, 32
    inputs = [torch.rand(1, tokens, heads, dim, requires_grad=True) for _ in range(5)]
    with LargestTensor() as seen:
        attend(*inputs).sum().backward()
    assert seen.largest == tokens * heads * dim


@pytest.mark.parametrize(
    ('change', 'message'),
    [
        ({'k': torch.zeros(2, 13, 3)}, 'keys and values must be'),
        ({'v': torch.zeros(2, 12, 3, 5)}, 'keys and values must be'),
        ({'k': torch.zeros(2, 0, 3, 4), 'v': torch.zeros(2, 0, 3, 5)}, 'at least one token'),
        ({'q': torch.zeros(2, 7, 1, 4)}, 'do not fit a state'),
        ({'logs': torch.zeros(2, 13)}, 'log_weights must be'),
        ({'feature_map': 'cosine'}, "unknown feature map 'cosine'; choose one of relu"),
        ({'normalizer': 'softmax'}, "unknown normalizer 'softmax'; choose one of plain"),
    ],
)
def test_bad_input_is_named(change, message):
    q, k, v, *_ = make_inputs(dtype=torch.float32)
    with pytest.raises(ValueError, match=message):
        attend(**{'q': q, 'k': k, 'v': v, **change})


def test_merging_nothing_is_an_error():
    with pytest.raises(ValueError, match='nothing to merge'):
        merge_states([])


def test_gating_costs_two_vectors_a_token_in_live_bytes():
    tokens, heads, dim = 102_400, 1, 64
    q, k, v, a, b = (torch.empty(1, tokens, heads, dim, device='meta') for _ in range(5))
    vectors = tokens * heads * dim * 4
    plain, gated = measure_cost(write, k, v), measure_cost(write, k, v, a, b)
    # a materialised gate would be dim times as large as what is allowed here
    assert gated.largest.bytes == plain.largest.bytes == vectors
    assert plain.peak_bytes < gated.peak_bytes <= plain.peak_bytes + 2 * vectors
    assert gated.macs == plain.macs == tokens * dim * dim
    whole = measure_cost(attend, q, k, v, a, b)
    assert whole.peak_bytes < 3.1 * vectors
    assert whole.macs == 2 * tokens * dim * dim + tokens * dim
