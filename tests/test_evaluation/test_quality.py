import math

import numpy as np
import pytest
import torch
from skimage import color, metrics

from saga_mm.evaluation.quality import gt_mean, luma, mae, planes, psnr, quantize, ssim

SIZES = ((40, 40), (11, 11), (11, 300), (61, 37), (600, 20))


def pair(height=61, width=37, seed=0):
    """Two uint8 images, one like the other, darker and with noise."""
    rng = np.random.default_rng(seed)
    rows, columns = np.mgrid[:height, :width]
    target = 128 + 90 * np.sin(rows[..., None] / 5 + np.arange(3)) * np.cos(columns[..., None] / 9)
    target = (target + rng.normal(0, 8, target.shape)).clip(0, 255).astype(np.uint8)
    pred = (target * 0.7 + rng.normal(0, 12, target.shape)).clip(0, 255).astype(np.uint8)
    return pred, target


def skimage_ssim(pred, target):
    return metrics.structural_similarity(
        pred,
        target,
        gaussian_weights=True,
        sigma=1.5,
        use_sample_covariance=False,
        data_range=255,
        channel_axis=-1 if pred.ndim == 3 else None,
    )


@pytest.mark.parametrize('size', SIZES)
def test_colours_as_scikit_image(size):
    pred, target = pair(*size)
    assert psnr(pred, target) == pytest.approx(metrics.peak_signal_noise_ratio(target, pred), abs=1e-10)
    assert ssim(pred, target) == pytest.approx(skimage_ssim(pred, target), abs=1e-12)
    assert mae(pred, target) == pytest.approx(np.abs(pred / 255 - target / 255).mean(), abs=1e-12)


@pytest.mark.parametrize('size', SIZES)
def test_luma_as_scikit_image(size):
    pred, target = pair(*size)
    y_pred, y_target = (color.rgb2ycbcr(image)[..., 0] for image in (pred, target))
    np.testing.assert_allclose(luma(pred)[0].numpy() * 255, y_pred, rtol=0, atol=1e-9)
    expected = metrics.peak_signal_noise_ratio(y_target, y_pred, data_range=255)
    assert psnr(luma(pred), luma(target)) == pytest.approx(expected, abs=1e-10)
    assert ssim(luma(pred), luma(target)) == pytest.approx(skimage_ssim(y_pred, y_target), abs=1e-12)


def test_luma_of_black_and_white_is_that_of_video():
    images = np.stack([np.zeros((1, 3)), np.ones((1, 3))])
    assert (luma(images) * 255).flatten().tolist() == pytest.approx([16, 235])
    assert torch.equal(luma(images[..., 0]), luma(images))


def test_gt_mean_has_the_grey_mean_of_the_ground_truth_and_scores_higher():
    _, target = pair()
    # each colour by another factor, so that the weights of grey matter, and dark enough to be clipped nowhere
    target, pred = target / 400, target / 400 * [0.5, 0.8, 0.3]
    scaled = gt_mean(pred, target)
    greys = [np.dot(image.mean(axis=(0, 1)), [0.299, 0.587, 0.114]) for image in (pred, target)]
    np.testing.assert_allclose(scaled.permute(1, 2, 0).numpy(), pred * greys[1] / greys[0], rtol=1e-12)
    assert psnr(scaled, target) > psnr(pred, target) + 1
    assert gt_mean(target / 9, 9 * target).amax() == 1


def test_gt_mean_of_a_black_image_is_black():
    _, target = pair()
    black = np.zeros_like(target)
    assert torch.equal(gt_mean(black, target), planes(black))


def test_tensors_and_arrays_bytes_and_floats_are_the_same_image():
    pred, target = pair()
    tensors = [torch.from_numpy(image).permute(2, 0, 1) for image in (pred, target)]
    for measure in (psnr, ssim, mae):
        expected = measure(pred, target)
        assert measure(*tensors) == expected
        assert measure(*(tensor.float() / 255 for tensor in tensors)) == pytest.approx(expected, rel=1e-6)
        assert measure(pred[:, ::-1], target[:, ::-1]) == pytest.approx(expected, rel=1e-12)


def test_quantize_keeps_what_a_file_of_8_bits_keeps():
    values = torch.tensor([[-0.5, 0.0019, 0.0021, 0.5, 1.7]])
    assert (quantize(values) * 255).tolist() == [[[0, 0, 1, 128, 255]]]
    pred, _ = pair()
    assert torch.equal(quantize(planes(pred).float()), planes(pred))


def test_equal_images():
    _, target = pair()
    assert psnr(target, target) == math.inf and mae(target, target) == 0
    assert ssim(target, target) == pytest.approx(1, abs=1e-12)


def test_values_that_are_not_numbers_show():
    pred, target = (planes(image) for image in pair())
    pred[0, 20, 20] = math.nan
    assert all(math.isnan(measure(pred, target)) for measure in (psnr, ssim, mae))


def test_mistakes_are_named():
    pred, target = pair()
    with pytest.raises(ValueError, match=r'differ in size.*3x61x37 and 3x60x37'):
        psnr(pred, target[1:])
    with pytest.raises(ValueError, match='at least 11x11 pixels, not 10x37'):
        ssim(pred[:10], target[:10])
    with pytest.raises(ValueError, match=r'shape \(4, 61, 37\)'):
        mae(np.dstack([pred, pred[..., 0]]), target)
    with pytest.raises(TypeError, match='int64'):
        mae(pred.astype(np.int64), target)
