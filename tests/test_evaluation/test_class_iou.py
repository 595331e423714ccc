import math

import numpy as np
import pytest
import torch
from PIL import Image

from saga_mm.registry import METRICS
from saga_mm.tasks.segmentation.evaluation import image_root

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


def test_class_maps_of_equal_names_in_several_folders(tmp_path):
    """The last one replaced the others."""
    metric = METRICS.build(
        dict(type='saga_mm.ClassIoUMetric', output_dir=str(tmp_path / 'maps'), image_root=str(tmp_path / 'img'))
    )
    metric.dataset_meta = {'classes': NAMES}
    for number, name in enumerate(('img/a/0.jpg', 'img/b/0.jpg', 'elsewhere/1.jpg')):
        truth = {'data': torch.tensor([[[number]]])}
        metric.process({}, [{'pred_sem_seg': truth, 'gt_sem_seg': truth, 'img_path': str(tmp_path / name)}])
    found = {path.relative_to(tmp_path / 'maps').as_posix() for path in (tmp_path / 'maps').rglob('*.png')}
    assert found == {'a/0.png', 'b/0.png', '1.png'}
    assert [np.array(Image.open(tmp_path / 'maps' / name)).item() for name in sorted(found)] == [2, 0, 1]


@pytest.mark.parametrize('zero', [False, True])
def test_maps_of_more_classes_than_a_byte_holds(zero, tmp_path):
    metric = METRICS.build(dict(type='saga_mm.ClassIoUMetric', output_dir=str(tmp_path)))
    metric.dataset_meta = {'classes': [str(number) for number in range(300)]}
    label = {'data': torch.tensor([[[255, 299]]])}
    sample = {'pred_sem_seg': label, 'gt_sem_seg': label, 'img_path': 'a.jpg', 'reduce_zero_label': zero}
    metric.process({}, [sample])
    assert np.array(Image.open(tmp_path / 'a.png')).tolist() == [[255 + zero, 299 + zero]]


def test_the_folder_of_all_images():
    def leaf(root, folder):
        return {'data_root': root, 'data_prefix': {'img_path': folder}}

    assert image_root(leaf('/x', 'img/val')) == '/x/img/val'
    assert image_root({'datasets': [leaf('/x', 'img/val'), {'dataset': leaf('/x', 'img/more')}]}) == '/x/img'
