import numpy as np

from saga_mm.analysis.metrics import is_metric, metric_line, metric_name, metric_table

METRICS = {
    'coco/bbox_mAP': 0.5,
    'coco/bbox_mAP_50': 0.75,
    'coco/bbox_mAP_s': -1.0,
    'coco/segm_mAP': 0.25,
    'loss': 12345.6,
}


def test_names():
    assert [metric_name(key) for key in METRICS] == ['box AP', 'box AP50', 'box AP, small objects', 'mask AP', 'loss']


def test_line_has_the_headline_figures():
    assert metric_line(METRICS) == 'box AP 0.500, box AP50 0.750, mask AP 0.250'
    assert metric_line({'mIoU': 61.25, 'aAcc': 90.0}) == 'mIoU 61.25, aAcc 90.00'
    assert metric_line({}) == 'nothing detected yet'


def test_table_has_them_all():
    rows = metric_table(METRICS).splitlines()
    assert len(rows) == len(METRICS) and len({len(row) for row in rows[:4]}) == 1
    assert rows[2].split() == ['box', 'AP,', 'small', 'objects', 'none'] and rows[4].endswith('1.235e+04')
    assert metric_table({}) == 'no metrics: nothing was detected'


def test_percentages_of_segmentation():
    metrics = {'mIoU': np.float32(9.5), 'aAcc': 90.0, 'IoU sky/cloud': 100.0, 'IoU car': float('nan')}
    rows = [row.rsplit(maxsplit=1) for row in metric_table(metrics).splitlines()]
    assert rows == [['mIoU', '9.50'], ['aAcc', '90.00'], ['IoU sky/cloud', '100.00'], ['IoU car', 'none']]


def test_which_logged_values_are_figures_of_an_evaluation():
    logged = ['coco/bbox_mAP', 'mIoU', 'val/mAcc', 'aAcc', 'loss', 'decode.acc_seg', 'IoU car', 'time']
    assert [key for key in logged if is_metric(key)] == ['coco/bbox_mAP', 'mIoU', 'val/mAcc', 'aAcc']
