"""What exported files compute, as PyTorch computes it, beside the code that predicts with a checkpoint."""

from pathlib import Path

import pytest
import torch
from torch import nn

from saga_mm.errors import SagaError
from saga_mm.export.graphs import AdaptiveMean, BackboneGraph, exportable
from saga_mm.export.stack_graphs import DetectorGraph, SegmentorGraph
from saga_mm.loading.build import build_model
from saga_mm.loading.config import load_config

TESTS = Path(__file__).parents[1]


@pytest.fixture(scope='module')
def segmentor():
    pytest.importorskip('mmseg')
    torch.manual_seed(0)
    return build_model(load_config(TESTS / 'tiny_export.py')).eval()


@pytest.fixture(scope='module')
def detector():
    pytest.importorskip('mmdet')
    torch.manual_seed(0)
    return build_model(load_config(TESTS / 'tiny_export_detector.py')).eval()


@pytest.mark.parametrize('size', [1, 2, 3, 6, (2, 5)])
@pytest.mark.parametrize('shape', [(1, 4, 7, 12), (2, 3, 6, 6), (1, 2, 1, 2), (1, 1, 13, 31)])
def test_adaptive_mean(size, shape):
    x = torch.randn(shape)
    model = exportable(nn.Sequential(nn.AdaptiveAvgPool2d(size)))
    assert isinstance(model[0], AdaptiveMean)
    torch.testing.assert_close(model(x), nn.AdaptiveAvgPool2d(size)(x), rtol=0, atol=1e-6)


def test_the_model_stays_as_it_is(segmentor):
    before = [type(module) for module in segmentor.modules()]
    SegmentorGraph(segmentor.train())
    assert segmentor.training and before == [type(module) for module in segmentor.modules()]
    assert 'predict' not in vars(segmentor)


@pytest.mark.parametrize(('bgr_to_rgb', 'mean'), [(True, 3.0), (False, 0.0)])
def test_pictures_are_prepared_as_by_the_preprocessor(segmentor, detector, bgr_to_rgb, mean):
    for graph in (SegmentorGraph(segmentor), DetectorGraph(detector)):
        for model in (graph.model, graph.original[0]):
            model.data_preprocessor._channel_conversion = bgr_to_rgb
            model.data_preprocessor.mean += mean
        image = graph.sample(41, 30, torch.Generator())
        # a model that attends to a whole map predicts without padding, and any other with it
        for divisor, shape in ((1, (1, 3, 41, 30)), (16, (1, 3, 48, 32))):
            assert graph.pad_divisor == 1 or divisor == 16
            graph.pad_divisor = divisor
            assert graph.prepared(image).shape == shape
            assert torch.equal(graph.prepared(image), graph.prepared_by_model(image))


def test_differences_of_labels_are_those_of_scores(segmentor):
    graph = SegmentorGraph(segmentor)
    scores = torch.tensor([[0.0, 1.0, 2.0, 4.0], [0.5, 1.0, 4.0, 1.0]]).T.reshape(1, 4, 1, 2)
    assert graph.difference([torch.tensor([[[3, 2]]], dtype=torch.uint8)], [scores]) == 0
    assert graph.difference([torch.tensor([[[2, 2]]], dtype=torch.uint8)], [scores]) == 0.5
    assert graph.difference([torch.tensor([[[3, 4]]], dtype=torch.uint8)], [scores]) == float('inf')
    assert graph.difference([torch.zeros(1, 2, 2)], [scores]) == float('inf')


def test_a_head_of_one_channel(segmentor):
    graph = SegmentorGraph(segmentor)
    graph.classes, graph.threshold = 1, 0.3
    scores = torch.tensor([0.3, 0.9]).logit().reshape(1, 1, 1, 2) + 1e-3
    right = [torch.tensor([[[1, 1]]], dtype=torch.uint8)]
    assert graph.difference(right, [scores]) == 0
    assert graph.difference([torch.zeros(1, 1, 2)], [scores]) == pytest.approx(0.6, abs=1e-3)


def test_names_of_outputs(detector):
    assert DetectorGraph(detector).outputs() == ['scores_0', 'scores_1', 'boxes_0', 'boxes_1']
    assert BackboneGraph(detector.backbone).outputs() == ['map_0']


def test_models_that_predict_in_another_way(segmentor, detector):
    graph = SegmentorGraph(segmentor)
    graph.model.test_cfg = {'mode': 'slide'}
    with pytest.raises(SagaError, match=r'set model\.test_cfg\.mode=whole'):
        SegmentorGraph(graph.model)
    graph = SegmentorGraph(segmentor)
    graph.model.data_preprocessor.test_cfg = {'size': (64, 64)}
    with pytest.raises(SagaError, match='give it a size_divisor'):
        SegmentorGraph(graph.model)
    with pytest.raises(SagaError, match='RetinaNet or its head predicts in a way of its own'):
        SegmentorGraph(detector)
    with pytest.raises(SagaError, match='a EncoderDecoder has neither an rpn_head nor a bbox_head'):
        DetectorGraph(segmentor)

    class Queries(nn.Module):
        def forward(self, features, queries):
            raise AssertionError

    graph = DetectorGraph(detector)
    graph.model.bbox_head = Queries()
    with pytest.raises(SagaError, match=r'the head of this RetinaNet gives no maps .*queries'):
        DetectorGraph(graph.model)
