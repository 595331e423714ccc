import json

import pytest
from torch import nn

from saga_mm import SagaError, create_backbone
from saga_mm.analysis import measure_cost, measure_parts
from saga_mm.analysis.parts import image_batch


class DenseHead(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(8, 2, 1)

    def forward(self, features):
        return [self.conv(feature) for feature in features]


class Neck(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(4, 8, 1)

    def forward(self, features):
        return [self.conv(features[0])]


class Backbone(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 4, 2, 2)

    def forward(self, image):
        return (self.conv(image),)


class Thresholding(DenseHead):
    def forward(self, features):
        return [feature[feature > 0] for feature in super().forward(features)]


class Detector(nn.Module):
    def __init__(self, head: nn.Module) -> None:
        super().__init__()
        self.backbone, self.neck, self.rpn_head, self.roi_head = Backbone(), Neck(), head, nn.Linear(3, 3)

    def forward(self, image):
        raise AssertionError('the parts are run, not the model')


def test_detector_by_parts():
    report = measure_parts(Detector(DenseHead()), image_batch(2, 8, 6))
    pixels = 2 * 4 * 3
    rows = {part.name: part for part in report.parts}
    assert list(rows) == ['backbone', 'neck', 'rpn_head', 'roi_head']
    assert rows['backbone'].macs == pixels * 4 * 12
    assert rows['neck'].macs == pixels * 4 * 8
    assert rows['rpn_head'].macs == pixels * 8 * 2
    assert rows['roi_head'].macs is None and rows['roi_head'].parameters == 12
    assert 'depends on the data' in rows['roi_head'].note
    assert report.total.macs == sum(part.macs for part in report.parts if part.macs)
    assert report.parameters == sum(part.parameters for part in report.parts)
    # features of the backbone stay with its caller until the neck is done
    assert rows['neck'].peak_bytes == pixels * (4 + 8) * 4


@pytest.mark.parametrize(
    ('head', 'reason'), [(Thresholding(), 'depends on the data'), (nn.Bilinear(2, 2, 2), 'not run on the feature maps')]
)
def test_head_that_cannot_be_traced_is_left_out(head: nn.Module, reason: str):
    report = measure_parts(Detector(head), image_batch(1, 8, 8))
    rows = {part.name: part for part in report.parts}
    assert rows['rpn_head'].macs is None and reason in rows['rpn_head'].note
    assert report.total.macs == rows['backbone'].macs + rows['neck'].macs
    assert 'without rpn_head, roi_head' in report.as_table()


def test_auxiliary_head_runs_in_training_alone():
    model = Detector(DenseHead())
    model.auxiliary_head = DenseHead()
    infer, train = (measure_parts(model, image_batch(1, 8, 8), training) for training in (False, True))
    assert infer.total.backward_macs == 0 < train.total.backward_macs
    assert train.total.macs == infer.total.macs + 16 * 8 * 2
    assert 'training alone' in next(part.note for part in infer.parts if part.name == 'auxiliary_head')


def test_backbone_by_stages():
    model, image = create_backbone('saga_pvt_tiny'), image_batch(1, 64, 96)
    report = measure_parts(model, image)
    assert [part.name for part in report.parts] == [f'stages.{i}' for i in range(4)]
    assert report.total == measure_cost(model, image)
    assert sum(part.macs for part in report.parts) == report.total.macs


def test_table_and_dict():
    report = measure_parts(Detector(DenseHead()), image_batch(2, 1024, 768), training=True)
    table = report.as_table().splitlines()
    assert table[0].split() == ['part', 'parameters', '(M)', 'GMACs', 'peak', 'live', 'activations', '(MiB)']
    assert table[1].split() == ['backbone', '0.000', '0.019', '6.0']
    assert table[4].split()[:4] == ['roi_head', '0.000', '-', '-']
    assert table[6].startswith('total ')
    assert len({line.index(line.split()[2]) + len(line.split()[2]) for line in table[1:4]}) == 1
    assert 'training, batch 2, image 1024 x 768' in report.as_table()
    data = json.loads(json.dumps(report.as_dict()))
    assert data['shape'] == [2, 3, 1024, 768] and data['training'] is True
    assert data['total']['macs'] == report.total.macs
    assert data['total']['gradient_bytes'] == report.total.gradient_bytes > 0
    assert data['parts'][-1]['macs'] is None


def test_sizes_that_cannot_be():
    with pytest.raises(SagaError, match='1 x 3 x 0 x 8'):
        image_batch(1, 0, 8)
    with pytest.raises(SagaError, match='image of 1 x 1'):
        measure_parts(Detector(DenseHead()), image_batch(1, 1, 1))
