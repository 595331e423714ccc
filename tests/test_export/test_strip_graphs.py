"""Graphs over strips against the enhancer over the whole image."""

import numpy as np
import pytest
import torch

from saga_mm.errors import SagaError
from saga_mm.export.strip_graphs import strip_files
from saga_mm.models.enhancement.weight_files import build_enhancer
from saga_mm.onnx.strip_model import StripModel

pytest.importorskip('onnx')
pytest.importorskip('onnxruntime')
pytest.importorskip('onnxscript')

ARCH = {'embed_dims': (8, 16), 'depths': (1, 1), 'num_heads': (0, 2), 'mlp_ratio': 1}


def lively(**options):
    trunk = {'type': 'saga_mm.SAGAUNet', 'arch': ARCH, **options.pop('trunk', {})}
    config = {'backbone': trunk, 'pad_divisor': 4, **options}
    model = build_enhancer(config).eval()
    for parameter in model.parameters():
        parameter.data += 0.1 * torch.randn_like(parameter)
    return model


@pytest.mark.parametrize('size', [(75, 61), (8, 200), (5, 3)])
def test_strips_of_any_height_answer_as_the_whole_image(strips, size):
    model, run = strips
    image = np.random.default_rng(1).integers(0, 256, (*size, 3), np.uint8)
    unit = torch.from_numpy(image).permute(2, 0, 1)[None] / 255
    for rows in (1, 3, 100):
        for strength in (1.0, 0.4):
            expected = (model.enhance(unit, strength)[0].permute(1, 2, 0) * 255).numpy()
            # the answer is stored in steps of a 16th of a grey level, and rounded to whole ones
            assert np.abs(run(image, rows, strength) - expected).max() <= 0.54


def test_each_graph_is_told_what_it_needs(strips):
    _, run = strips
    made, state = {'image'}, []
    for graph in run.plan['graphs']:
        assert set(graph['maps']) <= made and graph['state'] == state
        made |= set(graph['gives'])
        written = run.sessions[graph['write']].get_outputs() if graph['write'] else []
        state = [output.name for output in written]
    assert 'answer' in made and not state
    # up to the attention, up to the tone, and the rest
    assert len(run.plan['graphs']) == 3


@pytest.fixture(scope='module')
def strips():
    torch.manual_seed(0)
    model = lively()
    return model, StripModel(*strip_files(model))


@pytest.mark.parametrize(
    ('options', 'message'),
    [
        ({'trunk': {'attention': 'softmax'}}, 'SoftmaxAttention'),
        ({'trunk': {'attention': {'type': 'saga', 'sr_ratio': 2}}}, 'SAGAAttention'),
        ({'pad_divisor': 16}, 'pad_divisor=16'),
        ({'exposure': {'type': 'saga_mm.Exposure'}}, 'exposure'),
        ({'edges': 'replicate'}, 'edges=replicate'),
    ],
)
def test_a_model_that_does_not_run_so_is_refused_by_name(options, message):
    with pytest.raises(SagaError, match=message):
        strip_files(lively(**options))
