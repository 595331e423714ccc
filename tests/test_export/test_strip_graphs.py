"""Graphs over strips against the enhancer over the whole image."""

import numpy as np
import pytest
import torch

from saga_mm.errors import SagaError
from saga_mm.export.strip_graphs import StripPlan, strip_files
from saga_mm.models.enhancement.weight_files import build_enhancer
from saga_mm.onnx.strip_model import StripModel

pytest.importorskip('onnx')
pytest.importorskip('onnxruntime')
pytest.importorskip('onnxscript')
pytestmark = pytest.mark.usefixtures('quick_exports')

ARCH = {'embed_dims': (8, 16), 'depths': (1, 1), 'num_heads': (0, 2), 'mlp_ratio': 1}


def lively(**options):
    trunk = {'type': 'saga_mm.SAGAUNet', 'arch': ARCH, **options.pop('trunk', {})}
    config = {'backbone': trunk, 'pad_divisor': 4, **options}
    model = build_enhancer(config).eval()
    for parameter in model.parameters():
        parameter.data += 0.1 * torch.randn_like(parameter)
    return model


@pytest.mark.parametrize('size', [(75, 61), (8, 200), (5, 3), (1, 1)])
@pytest.mark.parametrize('brightness', [None, 0.3])
def test_strips_of_any_height_answer_as_the_whole_image(strips, size, brightness):
    model, run = strips
    image = np.random.default_rng(1).integers(0, 90, (*size, 3), np.uint8)
    unit = torch.from_numpy(image).permute(2, 0, 1)[None] / 255
    wanted = None if brightness is None else torch.tensor([brightness])
    with torch.no_grad():
        expected = model.answer(unit, wanted)[0].permute(1, 2, 0).numpy()
    for rows in (1, 3, 100):
        # the answer is stored in steps of a 16th of a grey level
        assert np.abs(run(image, rows, brightness) - expected).max() * 255 <= 0.04


def test_a_wanted_brightness_exposes_the_image(strips):
    _, run = strips
    image = np.random.default_rng(1).integers(0, 60, (40, 50, 3), np.uint8)
    means = [run(image, 2, brightness).mean() for brightness in (0.2, 0.6)]
    assert means[1] > means[0] + 0.2
    # what the model predicts is another one
    assert abs(run(image, 2) - run(image, 2, 0.2)).max() > 0.01


def test_each_graph_is_told_what_it_needs(strips):
    _, run = strips
    made, state = {'image'}, []
    for graph in run.plan['graphs']:
        assert set(graph['maps']) <= made and graph['state'] == state
        assert graph['gain'] == ('image' in graph['maps'])
        made |= set(graph['gives'])
        written = run.sessions[graph['write']].get_outputs() if graph['write'] else []
        state = [output.name for output in written]
    assert 'answer' in made and not state
    # up to the attention, up to the tone, and the rest
    assert len(run.plan['graphs']) == 3


def test_a_model_without_exposure_needs_no_gain():
    plan = StripPlan(lively()).describe()
    assert plan['exposure'] is None and not any(graph['gain'] for graph in plan['graphs'])


@pytest.fixture(scope='module')
def strips():
    torch.manual_seed(0)
    model = lively(exposure={'type': 'saga_mm.Exposure'}, edges='replicate')
    return model, StripModel(*strip_files(model))


@pytest.mark.parametrize(
    ('options', 'message'),
    [
        ({'trunk': {'attention': 'softmax'}}, 'SoftmaxAttention'),
        ({'trunk': {'attention': {'type': 'saga', 'sr_ratio': 2}}}, 'SAGAAttention'),
        ({'pad_divisor': 16}, 'pad_divisor=16'),
    ],
)
def test_a_model_that_does_not_run_so_is_refused_by_name(options, message):
    with pytest.raises(SagaError, match=message):
        strip_files(lively(**options))
