"""The kernels as operators of PyTorch: what they take, what both compute together, what tools of PyTorch see."""

import importlib

import torch
from torch.utils.flop_counter import FlopCounterMode

from saga_mm.ops import Gates, KVState, fused, linear_attention_reference, merge_states


def draw(device='cpu', tokens=40, heads=2, d_k=16, d_v=32, seed=0):
    """Queries, keys, values, logits of key gates and of one value gate for all heads."""
    random = torch.Generator().manual_seed(seed)
    shapes = [(heads, d_k), (heads, d_k), (heads, d_v), (heads, d_k), (1, d_v)]
    drawn = [torch.randn(2, tokens, *shape, generator=random).to(device) for shape in shapes]
    return [x.requires_grad_() for x in drawn]


def attend(q, k, v, a, b):
    return fused.read(q, *fused.write(k, v, a, b, gate_act='sigmoid'))


def attend_if_taken(q, k, v, a, b):
    return attend(q, k, v, a, b) if fused.plain_reason_write(k, v, a, b, gate_act='sigmoid') is None else 2 * q


def test_equals_the_sum_over_pairs_of_tokens(device):
    inputs = draw(device)
    wide = [x.detach().double().requires_grad_() for x in inputs]
    out = attend(*inputs)
    truth = linear_attention_reference(*wide[:3], Gates(*wide[3:], act='sigmoid'))
    torch.testing.assert_close(out, truth.float(), rtol=1e-4, atol=1e-5)
    steps = torch.linspace(-1, 1, out.numel(), device=device).view(out.shape)
    grads = torch.autograd.grad((out * steps).sum(), inputs)
    true_grads = torch.autograd.grad((truth * steps).sum(), wide)
    for grad, true in zip(grads, true_grads):
        torch.testing.assert_close(grad, true.float(), rtol=1e-3, atol=1e-5)


def test_states_of_parts_add(device):
    q, k, v, *_ = draw(device, tokens=41)
    whole = fused.read(q, *fused.write(k, v))
    parts = [
        KVState(*fused.write(k[:, rows], v[:, rows]), rows.stop - rows.start) for rows in (slice(0, 9), slice(9, 41))
    ]
    merged = merge_states(parts)
    torch.testing.assert_close(fused.read(q, merged.kv, merged.key), whole, rtol=1e-4, atol=1e-5)


def test_operators_pass_the_checks_of_pytorch(device):
    q, k, v, a, b = draw(device, tokens=5)
    operators = torch.ops.saga_mm
    kv, key = (x.detach().requires_grad_() for x in fused.write(k, v))
    torch.library.opcheck(operators.write_state, (k, v, a, b, 'relu', 'sigmoid', 'plain'))
    torch.library.opcheck(operators.read_state, (q, kv, key, 'relu', 'none', 1e-6))
    q, k, v, a, b, kv, key = (x.detach() for x in (q, k, v, a, b, kv, key))
    some = {'test_utils': ('test_schema', 'test_faketensor')}
    torch.library.opcheck(
        operators.write_state_backward, ([kv, key], k, v, a, None, 'relu', 'sigmoid', 'plain'), **some
    )
    torch.library.opcheck(
        operators.read_state_backward, (torch.ones_like(v), q, kv, key, 'relu', 'plain', 1e-6), **some
    )


def test_one_graph_for_all_numbers_of_tokens(device):
    graphs = []

    def count(graph, _):
        graphs.append(graph)
        return graph.forward

    torch._dynamo.reset()
    compiled = torch.compile(attend_if_taken, backend=count, fullgraph=True, dynamic=True)
    for tokens in (40, 23, 57):
        inputs = draw(device, tokens)
        torch.testing.assert_close(compiled(*inputs), attend(*inputs))
    assert len(graphs) == 1
    calls = [node for node in graphs[0].graph.nodes if node.op == 'call_function']
    assert sum('saga_mm' in str(node.target) for node in calls) == 2
    # the switch is seen by what is compiled
    with fused.fused_kernels(False):
        torch.testing.assert_close(compiled(*inputs), 2 * inputs[0])


def test_blocks_of_two_threads_end_in_any_order(device):
    _, k, v, *_ = draw(device)
    first, second = fused.fused_kernels(False), fused.fused_kernels(False)
    first.__enter__()
    second.__enter__()
    first.__exit__(None, None, None)
    assert fused.plain_reason_write(k, v) == 'the kernels are switched off'
    second.__exit__(None, None, None)
    assert fused.plain_reason_write(k, v) is None


def test_meta_tensors_have_the_right_shapes(device):
    q, k, v, a, b = (x.to('meta') for x in draw(tokens=9))
    kv, key = fused.write(k, v, a, b)
    assert kv.shape == (2, 2, 16, 32) and key.shape == (2, 2, 16) and kv.dtype == torch.float32
    out = fused.read(q.half(), kv, key)
    assert out.shape == (2, 9, 2, 32) and out.dtype == torch.float16


def test_flops_are_counted(device):
    inputs = draw(device)
    attend(*inputs)
    with FlopCounterMode(display=False) as counter:
        attend(*inputs).sum().backward()
    one = 2 * 2 * 40 * 2 * 16 * 32
    assert counter.get_total_flops() == 6 * one


def test_what_is_taken(device):
    q, k, v, a, b = draw(device)
    kv, key = fused.write(k, v)
    assert fused.plain_reason(k) is None
    assert fused.plain_reason_write(k, v) is None
    assert fused.plain_reason_write(k, v, a, b, gate_act='sigmoid') is None
    assert fused.plain_reason_write(k.bfloat16(), v.half(), feature_map='elu+1') is None
    assert fused.plain_reason_read(q, kv, key) is None
    assert fused.plain_reason_read(q.half(), kv, key, feature_map='identity') is None


def test_reasons_why_not(device):
    q, k, v, a, _ = draw(device)
    kv, key = fused.write(k, v)
    write, read = fused.plain_reason_write, fused.plain_reason_read
    assert 'float32, bfloat16 and float16 alone' in fused.plain_reason(k.double())
    assert 'float16 alone' in write(k.double(), v) and 'float16 alone' in write(k, v, a.double())
    assert 'feature map' in write(k, v, feature_map='focused')
    assert 'feature map' in write(k, v, feature_map=torch.relu)
    assert 'activation' in write(k, v, a, gate_act='silu')
    assert 'a gate is neither' in write(k, v, a[:, :1])
    assert 'not (B, N, heads, d) alike' in write(k, v[:, :5])
    assert 'no channels' in write(k, v[..., :0])
    assert 'too wide' in write(k.repeat(1, 1, 1, 9), v)
    assert 'float16 alone' in read(q, kv.double(), key) and 'not float32' in read(q, kv.half(), key)
    assert 'do not fit the state' in read(q[:1], kv, key)
    assert 'no tokens' in read(q[:, :0], kv, key)
    assert 'feature map' in read(q, kv, key, feature_map=torch.relu)


def test_switches(device, monkeypatch):
    _, k, v, *_ = draw(device)
    assert fused.plain_reason_write(k, v) is None
    with fused.fused_kernels(False):
        assert fused.plain_reason_write(k, v) == 'the kernels are switched off'
        with fused.fused_kernels():
            assert fused.plain_reason_write(k, v) is None
        assert fused.plain_reason_write(k, v)
    assert fused.plain_reason_write(k, v) is None
    try:
        monkeypatch.setenv('SAGA_MM_FUSED', '0')
        importlib.reload(fused)
        assert fused.plain_reason_write(k, v)
    finally:
        monkeypatch.delenv('SAGA_MM_FUSED')
        importlib.reload(fused)
    assert fused.plain_reason_write(k, v) is None


def test_plain_pytorch_on_the_cpu():
    _, k, v, *_ = draw()
    assert 'NVIDIA GPUs alone' in fused.plain_reason_write(k, v)


def test_kernels_know_every_name_that_is_taken(device):
    from saga_mm.ops.triton import tiles

    assert set(fused.MAPS) == set(tiles.MAPS) and set(fused.GATES) == set(tiles.GATES)
