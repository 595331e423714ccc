"""What is planned, and that mistakes are told in one line."""

import pytest
import torch

from benchmarks.options import Options, plan
from benchmarks.subjects import LAYERS
from saga_mm.errors import SagaError


def test_parts_sizes_and_names_in_order():
    options = Options('backbone', sizes='64,32x48', only='fused, saga:gates=key,fused', backbones='pvt_tiny,pvt_v2_b0')
    cases = plan(options)
    assert [case.part for case in cases] == ['pvt_tiny'] * 4 + ['pvt_v2_b0'] * 4
    assert [case.size for case in cases[:4]] == [(64, 64)] * 2 + [(32, 48)] * 2
    assert [case.name for case in cases[:2]] == ['fused', 'saga:gates=key']
    assert not any(case.compiled or case.backward for case in cases)


def test_compiled_follows_eager():
    cases = plan(Options('enhancer', sizes='64', compile=True, backward=True, only='saga_unet'))
    assert [case.label for case in cases] == ['saga_unet', 'saga_unet (compiled)']
    assert cases[1].eager == cases[0] and cases[0].backward
    both = plan(Options('enhancer', sizes='64', compile=True, only='saga_unet,saga_unet@openvino'))
    assert [case.label for case in both] == ['saga_unet', 'saga_unet (compiled)', 'saga_unet@openvino']
    # nothing runs, so nothing is compiled
    assert len(plan(Options('enhancer', sizes='64', compile=True, trace=True, only='saga_unet'))) == 1


def test_operators_have_cores_and_layers():
    cases = plan(Options('op', sizes='64', stages='3,1,3'))
    parts = list(dict.fromkeys(case.part for case in cases))
    assert parts == ['core stage 3', 'core stage 1', 'layer stage 3', 'layer stage 1']
    names = {part: [case.name for case in cases if case.part == part] for part in parts}
    assert names['core stage 3'] == ['naive', 'fused', 'linear', 'focused', 'rala', 'saga']
    assert names['layer stage 1'] == list(LAYERS['op'].names)


@pytest.mark.parametrize('layer', LAYERS)
def test_every_layer_has_defaults(layer):
    cases = plan(Options(layer))
    assert {case.name for case in cases} == set(LAYERS[layer].names)
    assert set(LAYERS[layer].references) <= {case.name for case in cases}
    assert Options(layer).folder.parts[-2:] == ('benchmark', layer)


@pytest.mark.parametrize(
    ('changes', 'said'),
    [
        ({'sizes': '64x'}, '--sizes 64x: is no size'),
        ({'sizes': '0'}, '--sizes 0: is no size'),
        ({'dtype': 'int8'}, '--dtype int8: is none of float32, bfloat16, float16'),
        ({'device': 'tpu'}, '--device tpu: is none of cpu, cuda'),
        ({'batch_size': 0}, '--batch-size 0: must be at least 1'),
        ({'repeats': 0}, '--repeats 0: must be at least 1'),
        ({'threads': 0}, '--threads 0: must be at least 1'),
        ({'min_seconds': -1.0}, '--min-seconds -1.0: must not be negative'),
        ({'min_seconds': float('nan')}, '--min-seconds nan: must not be negative'),
        ({'only': 'saga:gates'}, '--only saga:gates: options are written as name:option=value'),
        ({'backbones': ','}, '--backbones: names no backbone'),
        ({'layer': 'op', 'stages': '1,5'}, '--stages 5: is none of 1, 2, 3, 4'),
    ],
)
def test_mistakes(changes, said):
    with pytest.raises(SagaError) as error:
        plan(Options(**{'layer': 'backbone', **changes}))
    assert str(error.value).startswith(said) and '\n' not in str(error.value)


def test_no_gpu(monkeypatch):
    monkeypatch.setattr(torch.cuda, 'is_available', lambda: False)
    with pytest.raises(SagaError, match='--device cuda: PyTorch finds no GPU here'):
        plan(Options('op', device='cuda'))
    assert plan(Options('op', device='cuda', trace=True))
