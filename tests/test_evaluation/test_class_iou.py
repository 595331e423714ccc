import math

import pytest
import torch

from saga_mm.registry import METRICS

NAMES = ('road', 'sky/cloud', 'car')


def evaluate(pairs, **options):
    metric = METRICS.build(dict(type='saga_mm.ClassIoUMetric', **options))
    metric.dataset_meta = {'classes': NAMES}
    samples = [
        {'pred_sem_seg': {'data': torch.tensor([pred])}, 'gt_sem_seg': {'data': torch.tensor([truth])}}
        for pred, truth in pairs
    ]
    metric.process({}, samples)
    return metric.evaluate(len(samples))


@pytest.fixture(scope='module', autouse=True)
def _stack():
    from saga_mm.loading.stack import require_stack

    require_stack('mmseg')


def test_figures_of_the_classes_stand_beside_the_means():
    # road: 3 of 5 pixels; sky: 1 of 3; the ignored pixel counts nowhere
    found = evaluate([([[0, 0, 1]], [[0, 0, 0]]), ([[0, 1, 0]], [[0, 1, 255]]), ([[0]], [[1]])])
    assert found['IoU road'] == 60.0 and found['IoU sky/cloud'] == 33.33
    assert math.isnan(found['IoU car'])
    assert found['mIoU'] == pytest.approx(46.67) and found['aAcc'] == pytest.approx(66.67)


def test_without_iou_there_are_no_figures_of_classes():
    found = evaluate([([[0, 1, 2]], [[0, 1, 1]])], iou_metrics=['mDice'])
    assert set(found) == {'aAcc', 'mDice', 'mAcc'}
