"""What a model tells of where its parts run."""

import pytest
import torch

import saga_mm
from saga_mm.engines import use_engine
from saga_mm.engines.openvino import OpenVINOEngine
from saga_mm.errors import SagaError
from saga_mm.rows import MemoryBudget, MemoryRows, RowRunner, Rows


def test_explanations(host):
    net = use_engine(host('pvt', 'saga'), 'openvino')
    text = str(saga_mm.explain(net, (64, 64)))
    assert text.splitlines()[0].split() == ['part', 'engine', 'how', 'memory', 'reason']
    assert '1: embed, SAGAAttention  openvino f32  whole map' in text
    net.engine.whole_bytes, net.engine.chunk = 0, 1e5
    strips, *_ = saga_mm.explain(net, torch.rand(1, 3, 256, 256)).parts
    assert strips.how.split()[1:3] == ['strips', 'of']
    assert strips.reason.startswith('in one piece a part would take')
    # of the image that was run last
    with torch.inference_mode():
        net(torch.rand(1, 3, 96, 64))
    assert saga_mm.explain(net).parts == saga_mm.explain(net, (96, 64)).parts
    net.stages[0].blocks[0].attn.q.register_forward_hook(lambda *args: None)
    hooked = 'the submodule stages.0.blocks.0.attn.q has a hook'
    explained = saga_mm.explain(net, (64, 64))
    assert f'PVT computes whole maps in PyTorch: {hooked}' in explained.reasons
    assert explained.parts[0].engine == 'torch f32' and explained.parts[0].reason == hooked
    with pytest.raises(SagaError, match='holds no backbone of saga_mm'):
        saga_mm.explain(torch.nn.Linear(1, 1), (8, 8))


def test_what_fits_is_run_in_one_piece():
    with torch.device('meta'):
        net = saga_mm.create_backbone('saga_pvt_tiny').eval()
    use_engine(net, OpenVINOEngine())
    assert {part.how for part in saga_mm.explain(net, (2048, 2048)).parts} == {'whole map'}
    assert 'strips' in saga_mm.explain(net, (4096, 4096)).parts[0].how


def test_explanations_name_the_step_that_is_not_compiled(host, cache):
    net = use_engine(host('pvt', 'saga'), OpenVINOEngine(cache=cache))
    net.engine.whole_bytes = 0
    block = net.stages[0].blocks[0]
    runner, rows = RowRunner(engine=net.engine), MemoryRows(torch.rand(1, 64, 64, 3))
    block.norm1.register_forward_hook(lambda *args: None)
    with torch.inference_mode():
        net.forward_rows(rows, runner)
    block.norm1._forward_hooks.clear()
    first, second = saga_mm.explain(net, (64, 64)).parts
    assert 'Block runs in PyTorch: a LayerNorm in it has a hook' in first.reason
    assert 'PyTorch' not in second.reason


def test_explanations_of_a_budget(host):
    net = use_engine(host('pvt', 'saga'), 'torch')
    budget = MemoryBudget.of(net)
    parts = net.parts(64, 64)
    assert budget.takes_whole(parts)
    assert [row.how for row in saga_mm.explain(net, budget=budget).parts] == ['whole map'] * 2
    budget.plan(parts, Rows(1, 64, 64))
    assert saga_mm.explain(net, budget=budget).memory.startswith('memory: ')
    assert len(saga_mm.explain(net, budget=budget).parts) == 2
