import numpy as np

from saga_mm.display.metrics import is_error, is_metric, metric_line, metric_name, metric_table, text_width

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
    assert metric_line({'top1': 81.3, 'top5': 95.5, 'loss': 1.0}) == 'top1 81.30, top5 95.50'
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


def test_enhanced_images_and_what_needs_no_model():
    metrics = {'PSNR': 21.5, 'SSIM': 0.8, 'MAE': 0.07, 'PSNR_GTmean': 25.0, 'input/PSNR': 7.77, 'gamma_0.3/SSIM': 0.64}
    names = ['PSNR', 'SSIM', 'MAE', 'PSNR_GTmean', 'PSNR (input)', 'SSIM (gamma 0.3)']
    assert [metric_name(key) for key in metrics] == [metric_name(f'val/{key}') for key in metrics] == names
    assert metric_line(metrics) == 'PSNR 21.50, SSIM 0.800, PSNR (input) 7.770'
    logged = [*metrics, 'loss_ssim', 'LPIPS', 'input/loss', 'NIQE']
    assert [key for key in logged if is_metric(key)] == [*metrics, 'LPIPS', 'NIQE']
    assert [key for key in logged if is_error(key)] == ['MAE', 'LPIPS', 'NIQE']


def test_columns_of_letters_of_any_script():
    widths = {'road': 4, 'Fu\u0308r': 3, '天空': 4, 'เพนกวิน': 6, 'नमस्ते': 4, '😀': 2, 'a\u200bb': 2}
    assert {text: text_width(text) for text in widths} == widths
