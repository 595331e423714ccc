import csv
import json
import math
import sys
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from skimage import data, metrics

from saga_mm.errors import SagaError
from saga_mm.evaluation.niqe import fit_niqe, niqe, save_niqe
from saga_mm.evaluation.quality import gt_mean, luma, psnr, quantize, ssim
from saga_mm.registry import METRICS


def build(**options):
    return METRICS.build(dict(type='saga_mm.EnhancementMetric', **options))


def sample(seed=0, height=33, width=47, **more):
    """A sample as a metric gets it, the prediction not rounded and darker than the ground truth."""
    generator = torch.Generator().manual_seed(seed)
    truth = torch.randint(0, 256, (3, height, width), generator=generator) / 255
    pred = (0.6 * truth + 0.1 * torch.rand(truth.shape, generator=generator)).clamp(0, 1)
    return {'pred_img': pred, 'gt_img': truth, 'img_path': f'{seed}.png', **more}


def evaluate(samples, **options):
    metric = build(**options)
    for one in samples:
        metric.process({}, [one])
    return metric.evaluate(len(samples))


def as_bytes(image):
    return np.rint(image.double().numpy() * 255).astype(np.uint8).transpose(1, 2, 0)


def test_default_figures_are_means_of_single_images_rounded_to_bytes():
    samples = [sample(0), sample(1, 61, 20)]
    found = evaluate(samples)
    assert list(found) == ['PSNR', 'SSIM', 'MAE', 'PSNR_Y', 'SSIM_Y']
    pairs = [(as_bytes(one['pred_img']), as_bytes(one['gt_img'])) for one in samples]
    expected = np.mean([metrics.peak_signal_noise_ratio(truth, pred) for pred, truth in pairs])
    assert found['PSNR'] == pytest.approx(expected, abs=1e-10)
    expected = np.mean(
        [
            metrics.structural_similarity(
                pred, truth, gaussian_weights=True, sigma=1.5, use_sample_covariance=False, channel_axis=2
            )
            for pred, truth in pairs
        ]
    )
    assert found['SSIM'] == pytest.approx(expected, abs=1e-10)
    assert found['PSNR_Y'] == pytest.approx(np.mean([psnr(luma(pred), luma(truth)) for pred, truth in pairs]))
    assert found['SSIM_Y'] == pytest.approx(np.mean([ssim(luma(pred), luma(truth)) for pred, truth in pairs]))
    assert found['PSNR_Y'] > found['PSNR']


def test_gt_mean_stands_under_its_own_name_beside_the_plain_figure():
    one = sample()
    found = evaluate([one], metrics=['PSNR', 'PSNR_GTmean', 'SSIM_GTmean'])
    scaled = gt_mean(quantize(one['pred_img']), one['gt_img'])
    assert found['PSNR_GTmean'] == pytest.approx(psnr(scaled, one['gt_img']), rel=1e-6)
    assert found['SSIM_GTmean'] == pytest.approx(ssim(scaled, one['gt_img']), rel=1e-6)
    assert found['PSNR'] == pytest.approx(psnr(quantize(one['pred_img']), one['gt_img']), rel=1e-6)
    assert found['PSNR_GTmean'] > found['PSNR'] + 2


def test_metrics_asked_for_and_no_other():
    assert list(evaluate([sample()], metrics='MAE')) == ['MAE']
    assert list(evaluate([sample()], metrics=['MAE'], prefix='night')) == ['night/MAE']


def test_samples_of_a_model_are_read_as_the_evaluator_hands_them_over():
    from mmengine.evaluator import Evaluator
    from mmengine.structures import BaseDataElement

    one = sample()
    element = BaseDataElement(metainfo={'img_path': 'dark.png'}, pred_img=one['pred_img'], gt_img=one['gt_img'])
    evaluator = Evaluator(dict(type='saga_mm.EnhancementMetric', metrics=['PSNR']))
    evaluator.process([element], {})
    assert evaluator.evaluate(1)['PSNR'] == evaluate([one])['PSNR']


def test_images_of_one_evaluation_are_forgotten_in_the_next():
    metric = build(metrics=['PSNR'])
    for one in (sample(0), sample(1)):
        metric.process({}, [one])
        assert metric.evaluate(1) == evaluate([one], metrics=['PSNR'])


def test_padded_samples_of_the_last_batch_are_dropped():
    metric = build(metrics=['PSNR'])
    metric.process({}, [sample(0), sample(1), sample(0)])
    assert metric.evaluate(2) == evaluate([sample(0), sample(1)], metrics=['PSNR'])


@pytest.mark.parametrize('suffix', ['csv', 'json'])
def test_figures_of_each_image_are_written(suffix, tmp_path):
    out = tmp_path / 'new' / f'figures.{suffix}'
    found = evaluate([sample(0), sample(1)], metrics=['PSNR', 'MAE'], out_file=str(out))
    text = out.read_text()
    rows = json.loads(text) if suffix == 'json' else list(csv.DictReader(text.splitlines()))
    assert [list(row) for row in rows] == 2 * [['image', 'PSNR', 'MAE']]
    assert [row['image'] for row in rows] == ['0.png', '1.png']
    assert np.mean([float(row['PSNR']) for row in rows]) == pytest.approx(found['PSNR'])


def test_equal_images_in_json(tmp_path):
    same = {**sample(), 'pred_img': sample()['gt_img']}
    assert evaluate([same], metrics=['PSNR', 'MAE'], out_file=tmp_path / 'a.json') == {'PSNR': math.inf, 'MAE': 0}
    (row,) = json.loads((tmp_path / 'a.json').read_text(), parse_constant=pytest.fail)
    assert row['PSNR'] is None and row['MAE'] == 0


def test_niqe_needs_no_ground_truth(tmp_path):
    natural = fit_niqe([data.gravel(), data.grass()])
    save_niqe(natural, tmp_path / 'model.npz')
    image = data.chelsea()
    one = {'pred_img': torch.from_numpy(image).permute(2, 0, 1).float() / 255, 'img_path': 'cat.png'}
    found = evaluate([one], metrics=['NIQE'], niqe_params=tmp_path / 'model.npz')
    assert found == {'NIQE': pytest.approx(niqe(image, natural), rel=1e-9)}
    with pytest.raises(SagaError, match=r'0\.png: NIQE needs two blocks'):
        evaluate([sample()], metrics=['NIQE'], niqe_params=tmp_path / 'model.npz')


def test_lpips_is_asked_only_where_all_of_it_is_installed(monkeypatch, tmp_path):
    class Network(torch.nn.Module):
        def __init__(self, net, verbose):
            super().__init__()
            assert net == 'alex' and not verbose

        def forward(self, first, second, normalize):
            assert normalize and first.dtype == torch.float32 and first.shape == (1, 3, 33, 47)
            return (first - second).abs().mean().view(1, 1, 1, 1)

    monkeypatch.setattr(torch.hub, 'get_dir', lambda: str(tmp_path))
    monkeypatch.setitem(sys.modules, 'lpips', None)
    with pytest.raises(SagaError, match='pip install lpips'):
        build(metrics=['LPIPS'])
    monkeypatch.setitem(sys.modules, 'lpips', SimpleNamespace(LPIPS=Network))
    with pytest.raises(SagaError, match=r'alexnet-owt-7be5be79.pth, and nothing is downloaded'):
        build(metrics=['LPIPS'])
    (tmp_path / 'checkpoints').mkdir()
    (tmp_path / 'checkpoints' / 'alexnet-owt-7be5be79.pth').touch()
    found = evaluate([sample()], metrics=['LPIPS', 'MAE'])
    assert list(found) == ['LPIPS', 'MAE'] and found['LPIPS'] == pytest.approx(found['MAE'], rel=1e-5)


@pytest.mark.parametrize(
    ('options', 'message'),
    [
        (dict(metrics=['psnr']), "metrics=\\['psnr'\\]: choose from PSNR, SSIM"),
        (dict(metrics=[]), 'choose from'),
        (dict(metrics=['NIQE']), 'NIQE needs niqe_params'),
        (dict(metrics=['NIQE'], niqe_params='nowhere.npz'), 'nowhere.npz: cannot be read'),
        (dict(out_file='figures.txt'), 'ends neither in .csv nor in .json'),
    ],
)
def test_wrong_options_are_named(options, message):
    with pytest.raises(SagaError, match=message):
        build(**options)


def test_wrong_images_are_named():
    with pytest.raises(SagaError, match=r'0.png: PSNR, SSIM.* need a ground truth'):
        evaluate([sample(gt_img=None)])
    with pytest.raises(SagaError, match=r'0.png: the two images differ in size.*3x33x47 and 3x9x9'):
        evaluate([sample(gt_img=torch.zeros(3, 9, 9))])
    with pytest.raises(SagaError, match=r'0.png: SSIM needs images of at least 11x11'):
        evaluate([sample(height=10)])
    with pytest.raises(SagaError, match='no image was measured'):
        build().evaluate(0)


def test_out_file_that_cannot_be_written_is_named(tmp_path):
    (tmp_path / 'file').touch()
    with pytest.raises(SagaError, match=r'figures.csv: could not be written'):
        evaluate([sample()], out_file=tmp_path / 'file' / 'figures.csv')


def test_a_broken_prediction_shows():
    one = sample()
    one['pred_img'][0, 3, 3] = math.nan
    assert all(math.isnan(figure) for figure in evaluate([one]).values())
