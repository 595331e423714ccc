"""Choosing an engine."""

import pytest
import torch

from saga_mm.engines import choose, make_engine, use_engine
from saga_mm.errors import SagaError


def test_names():
    assert make_engine('torch').name == 'torch'
    assert make_engine('openvino').name == make_engine('auto').name == 'openvino'
    assert make_engine('auto').patient and not make_engine('openvino').patient
    # nothing runs there, so nothing has to be there
    assert make_engine('auto', device='cuda').name == 'torch'


@pytest.mark.parametrize(
    ('options', 'message'),
    [
        (('tensorrt',), 'engine=tensorrt: is unknown; choose one of auto, torch, openvino'),
        (('auto', 'int8'), 'precision=int8: is unknown; choose one of f32, bf16'),
        (('openvino', 'f32', 'cuda:0'), 'engine=openvino: runs on a CPU, and the model is on cuda:0'),
        (('torch', 'bf16'), 'precision=bf16: needs the engine openvino'),
    ],
)
def test_what_is_not_to_be_had_is_said(options, message):
    with pytest.raises(SagaError) as error:
        make_engine(*options)
    assert message in str(error.value)


def test_without_openvino(monkeypatch):
    monkeypatch.setattr(choose.importlib.util, 'find_spec', lambda name: None)
    assert make_engine('auto').name == 'torch'
    with pytest.raises(SagaError, match=r"is not installed; pip install 'openvino"):
        make_engine('openvino')


def test_without_instructions_for_16_bits(monkeypatch):
    class Core:
        @staticmethod
        def get_property(device, name):
            return ['FP32']

    monkeypatch.setattr('saga_mm.engines.choose.core', Core)
    with pytest.raises(SagaError, match='no instructions for bfloat16; leave it at f32'):
        make_engine('openvino', 'bf16')


def test_engines_are_switched_off_again(host):
    net = use_engine(host('pvt', 'saga'), 'openvino')
    assert net.engine.name == 'openvino'
    assert use_engine(net, 'torch').engine.name == 'torch'
    with torch.inference_mode():
        net(torch.rand(1, 3, 32, 32))


def test_openvino_reports_nothing(bare_forker):
    code = (
        'import sys, threading, torch, saga_mm; from saga_mm.models.backbones import PVTv2;'
        'arch = dict(embed_dims=(8,), depths=(1,), num_heads=(1,), mlp_ratios=(2,), sr_ratios=(1,));'
        'net = PVTv2(arch, out_indices=(0,), attention="saga").eval();'
        'saga_mm.use_engine(net, "openvino"); torch.inference_mode()(net)(torch.rand(1, 3, 32, 32));'
        'print([name for name in sys.modules if "openvino_telemetry" in name], threading.active_count())'
    )
    assert bare_forker.run_code(code).written('out') == '[] 1\n'
