"""What cases are built into, and what their trace says."""

import pytest
import torch
from torch import nn

from benchmarks.cases import Case
from benchmarks.onnx_subject import OnnxBackbone
from benchmarks.steps import Step, largest_error
from benchmarks.subjects import build, trace
from saga_mm.errors import SagaError
from saga_mm.models.attention import SAGAAttention
from saga_mm.models.backbones import PVT
from saga_mm.models.backbones.blocks import DropPath

GIB = 2**30


def test_the_same_weights_and_inputs_each_time():
    case = Case('backbone', 'pvt_v2_b0', 'saga', (64, 32), batch=2)
    one, two = build(case), build(case)
    assert all(map(torch.equal, one.module.parameters(), two.module.parameters()))
    assert torch.equal(one.inputs[0], two.inputs[0]) and one.inputs[0].shape == (2, 3, 64, 32)
    assert not one.module.training and isinstance(one.module.stages[0].blocks[0].attn, SAGAAttention)


def test_training_without_dropout():
    subject = build(Case('backbone', 'pvt_v2_b0', 'fused', (64, 64), backward=True))
    assert subject.module.training
    rates = [child.rate for child in subject.module.modules() if isinstance(child, DropPath)]
    assert rates and not any(rates)
    assert all(map(torch.equal, Step(subject, True).results(), Step(subject, True).results()))


def test_half_precision():
    subject = build(Case('op', 'layer stage 4', 'saga', (64, 64), dtype='bfloat16'))
    assert {t.dtype for t in (*subject.inputs, *subject.module.parameters())} == {torch.bfloat16}


def test_gradients_of_a_step():
    subject = build(Case('op', 'core stage 4', 'linear', (64, 64), backward=True))
    step = Step(subject, True)
    out, grads = step.results()
    q, k, v = subject.inputs
    expected = torch.autograd.grad(subject.module(q, k, v), (q, k, v), step.cotangents)
    torch.testing.assert_close(grads, torch.cat([g.flatten() for g in expected]))
    assert q.grad is None and not out.requires_grad
    step()
    assert q.grad is not None
    step.forget()
    assert q.grad is None


@pytest.mark.parametrize(
    ('case', 'said'),
    [
        (Case('backbone', 'resnet', 'saga', (64, 64)), "--backbones resnet --only saga: unknown backbone 'resnet'"),
        (Case('backbone', 'pvt_tiny', 'sga', (64, 64)), "--backbones pvt_tiny --only sga: unknown attention 'sga'"),
        (Case('op', 'layer stage 1', 'saga:gates=no', (64, 64)), "--only saga:gates=no: unknown gates='no'"),
        (Case('enhancer', '', 'zero_dce', (64, 64)), '--only zero_dce: is none of retinexformer'),
        (Case('model', '', 'no_such.py', (64, 64)), 'config no_such.py: no such file'),
    ],
)
def test_what_does_not_exist(case, said):
    with pytest.raises(SagaError) as error:
        build(case)
    assert str(error.value).startswith(said)


def test_retinexformer_on_an_engine_equals_pytorch():
    case, compiled = (Case('enhancer', '', name, (64, 96)) for name in ('retinexformer', 'retinexformer@openvino'))
    wanted = Step(build(case)).results()
    subject = build(compiled)
    assert 'forward' in vars(subject.module)
    assert largest_error(Step(subject).results(), wanted) < 1e-4
    assert trace(compiled).macs == trace(case).macs


@pytest.mark.usefixtures('quick_exports')
def test_a_backbone_under_onnx_runtime_equals_pytorch():
    assert isinstance(build(Case('backbone', 'pvt_tiny', 'saga@onnxruntime', (64, 96))).module.forward, OnnxBackbone)
    # the named ones have eight blocks and more, and each block takes two seconds to export
    arch = dict(embed_dims=[16, 32], depths=[1, 1], num_heads=[1, 2], mlp_ratios=[2, 2], sr_ratios=[1, 1])
    net, image = PVT(arch, out_indices=(0, 1), attention='saga').eval(), torch.rand(2, 3, 64, 96)
    with torch.inference_mode():
        wanted = net(image)
        net.forward = OnnxBackbone(net)
        found = net(image)
    assert len(found) == 2 and net.forward.session is not None
    assert all(torch.allclose(one, other, atol=1e-5) for one, other in zip(found, wanted))


def test_onnx_runtime_is_for_backbones():
    with pytest.raises(SagaError, match='@onnxruntime: LowLightEnhancer is no backbone'):
        build(Case('enhancer', '', 'saga_unet_tiny@onnxruntime', (64, 64)))


def test_trace_of_a_core():
    tokens, dims = 32 * 16, 64
    row = trace(Case('op', 'core stage 1', 'fused', (128, 64), batch=2))
    # queries and outputs of 512 tokens, keys and values of 8
    assert row.macs == 2 * 2 * tokens * 8 * dims
    assert row.live_bytes == row.whole_bytes == 2 * 4 * tokens * dims and row.parameters == 0
    # the state and the answer, d x d each for a token, and half a normaliser; twice more backward
    both = trace(Case('op', 'core stage 1', 'saga', (128, 64), backward=True))
    assert both.macs == 3 * tokens * (2 * dims * dims + dims)


def test_trace_with_checkpoints(small):
    row = trace(Case('backbone', 'pvt_tiny', 'saga', (128, 128), backward=True))
    assert 0 < row.checkpointed_bytes < 0.8 * row.live_bytes
    assert trace(Case('backbone', 'pvt_tiny', 'saga', (128, 128))).checkpointed_bytes is None


@pytest.mark.slow
def test_live_bytes_at_1280():
    """The headline of memory: batch 1, float32, inference. That of SAGA is in ``test_analysis/test_cost.py``."""
    live = {name: trace(Case('backbone', 'pvt_tiny', name, (1280, 1280))) for name in ('naive', 'fused_whole')}
    assert 1.2 * GIB < live['naive'].live_bytes < 1.35 * GIB
    assert 0.45 * GIB < live['fused_whole'].live_bytes < 0.5 * GIB
    assert live['naive'].macs == live['fused_whole'].macs == pytest.approx(141.66e9, rel=1e-3)


@pytest.mark.slow
def test_models_of_configs(request):
    pytest.importorskip('mmdet')
    config = str(request.config.rootpath / 'tests' / 'tiny.py')
    case = Case('model', '', config, (64, 96))
    subject = build(case)
    assert not any(isinstance(child, nn.SyncBatchNorm) for child in subject.module.modules())
    outs = Step(subject).results()
    assert len(outs) == 3 and outs[0].shape[0] > 1
    dense = Step(subject._replace(module=subject.traceable)).results()
    row = trace(case)
    assert row.macs > 0 and len(dense) > 3
