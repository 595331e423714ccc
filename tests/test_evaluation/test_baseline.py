import numpy as np
import pytest
import torch

from saga_mm.errors import SagaError
from saga_mm.evaluation.quality import psnr, ssim
from saga_mm.registry import METRICS


def measure(images, targets, **options):
    """Figures of packed BGR images; what a model made of them is nonsense here."""
    metric = METRICS.build(dict(type='saga_mm.BaselineMetric', **options))
    samples = [{'gt_img': target, 'pred_img': torch.zeros_like(target), 'img_path': 'a.png'} for target in targets]
    metric.process({'inputs': images, 'data_samples': None}, samples)
    return metric.evaluate(len(images))


@pytest.fixture
def pairs():
    rng = np.random.default_rng(0)
    images = [torch.from_numpy(rng.integers(0, 60, (3, 16, width), np.uint8)) for width in (16, 21)]
    return images, [torch.rand(3, 16, width, generator=torch.Generator().manual_seed(1)) for width in (16, 21)]


def test_the_input_as_it_is(pairs):
    found = measure(*pairs)
    rgb = [image.numpy()[::-1].transpose(1, 2, 0) for image in pairs[0]]
    targets = [(target * 255).round() / 255 for target in pairs[1]]
    assert list(found) == ['input/PSNR', 'input/SSIM']
    for name, figure in (('PSNR', psnr), ('SSIM', ssim)):
        expected = np.mean([figure(image, target) for image, target in zip(rgb, targets)])
        assert found[f'input/{name}'] == pytest.approx(expected)


def test_a_fixed_curve(pairs):
    found = measure(*pairs, gamma=0.3, metrics=['PSNR'])
    curve = [
        np.rint(255 * (image.numpy()[::-1] / 255) ** 0.3).astype(np.uint8).transpose(1, 2, 0) for image in pairs[0]
    ]
    targets = [(target * 255).round() / 255 for target in pairs[1]]
    assert list(found) == ['gamma_0.3/PSNR']
    expected = np.mean([psnr(image, target) for image, target in zip(curve, targets)])
    assert found['gamma_0.3/PSNR'] == pytest.approx(expected)
    assert found['gamma_0.3/PSNR'] != pytest.approx(measure(*pairs)['input/PSNR'])


def test_an_exponent_that_is_none():
    with pytest.raises(SagaError, match='gamma=0 must be above 0'):
        measure([], [], gamma=0)
