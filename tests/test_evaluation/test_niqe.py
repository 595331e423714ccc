import math

import cv2
import numpy as np
import pytest
import torch
from scipy import ndimage, special, stats
from skimage import data

from saga_mm.errors import SagaError
from saga_mm.evaluation.niqe import block_features, fit_aggd, fit_niqe, fit_niqe_folder, load_niqe, niqe, save_niqe
from saga_mm.evaluation.quality import luma


def photographs():
    return [data.astronaut(), data.gravel(), data.grass()]


@pytest.fixture(scope='module')
def natural():
    return fit_niqe(photographs())


def aggd_of(values):
    values = values.ravel()
    gamma = np.arange(0.2, 10.0005, 0.001)
    table = special.gamma(2 / gamma) ** 2 / special.gamma(1 / gamma) / special.gamma(3 / gamma)
    left, right = np.sqrt((values[values < 0] ** 2).mean()), np.sqrt((values[values > 0] ** 2).mean())
    skew = left / right
    ratio = np.abs(values).mean() ** 2 / (values**2).mean() * (skew**3 + 1) * (skew + 1) / (skew**2 + 1) ** 2
    shape = gamma[np.abs(table - ratio).argmin()]
    unit = math.sqrt(special.gamma(1 / shape) / special.gamma(3 / shape))
    return shape, left * unit, right * unit


def features_of(block):
    shape, left, right = aggd_of(block)
    found = [shape, (left + right) / 2]
    for down, across in ((0, 1), (1, 0), (1, 1), (1, -1)):
        neighbour = np.empty_like(block)
        for row in range(len(block)):
            for column in range(len(block)):
                neighbour[row, column] = block[(row - down) % len(block), (column - across) % len(block)]
        shape, left, right = aggd_of(block * neighbour)
        found += [shape, (right - left) * special.gamma(2 / shape) / special.gamma(1 / shape), left, right]
    return found


def normalized_of(grey):
    place = np.arange(-3, 4)
    window = np.exp(-(place[:, None] ** 2 + place**2) / (2 * (7 / 6) ** 2))
    window /= window.sum()
    mean = ndimage.correlate(grey, window, mode='nearest')
    deviation = np.sqrt(np.abs(ndimage.correlate(grey**2, window, mode='nearest') - mean**2))
    # flat parts are zero but for rounding
    return np.where(np.abs(grey - mean) < 1e-9, 0, (grey - mean) / (deviation + 1))


def halved(grey):
    """Cubic convolution, a = -1/2, stretched over eight pixels; the border excluded, where conventions differ."""
    at = np.abs(np.arange(-3.5, 4) / 2)
    kernel = np.where(at <= 1, 1.5 * at**3 - 2.5 * at**2 + 1, -0.5 * at**3 + 2.5 * at**2 - 4 * at + 2)
    kernel /= kernel.sum()
    for axis in (0, 1):
        grey = ndimage.correlate1d(grey, kernel, axis=axis, origin=-1, mode='nearest').take(
            np.arange(1, grey.shape[axis], 2) - 1, axis=axis
        )
    return grey


def test_features_are_those_of_the_equations():
    image = data.astronaut()[:300, 100:400]
    found, sharpness = block_features(image)
    assert found.shape == (9, 36) and sharpness.shape == (9,)
    grey = (luma(image)[0].numpy() * 255).round()[:288, :288]
    fine = normalized_of(grey)
    coarse = normalized_of(halved(grey))
    for index, (row, column) in {0: (0, 0), 4: (1, 1), 5: (1, 2)}.items():
        block = fine[96 * row : 96 * (row + 1), 96 * column : 96 * (column + 1)]
        np.testing.assert_allclose(found[index, :18].numpy(), features_of(block), rtol=1e-8, atol=1e-12)
    # the block in the middle, which the border does not reach
    expected = features_of(coarse[48:96, 48:96])
    np.testing.assert_allclose(found[4, 18:].numpy(), expected, rtol=1e-6, atol=1e-9)


def test_asymmetric_gaussians_are_recovered():
    rng = np.random.default_rng(0)
    sides = {2.0: (1.0, 1.0), 1.0: (0.5, 1.5), 0.7: (2.0, 1.0)}
    for shape, (left, right) in sides.items():
        size = np.abs(stats.gennorm.rvs(shape, size=400_000, random_state=rng))
        negative = rng.random(len(size)) < left / (left + right)
        samples = torch.from_numpy(np.where(negative, -left * size, right * size))[None]
        found = [float(value) for value in fit_aggd(samples)]
        assert found == pytest.approx([shape, left, right], rel=0.03)


@pytest.mark.parametrize('harm', ['noise', 'blur', 'jpeg'])
def test_harm_raises_it(harm, natural):
    image = data.astronaut()
    if harm == 'noise':
        noise = np.random.default_rng(0).normal(0, 25, image.shape)
        harmed = (image + noise).clip(0, 255).astype(np.uint8)
    elif harm == 'blur':
        harmed = cv2.GaussianBlur(image, (0, 0), 2)
    else:
        harmed = cv2.imdecode(cv2.imencode('.jpg', image, [cv2.IMWRITE_JPEG_QUALITY, 8])[1], cv2.IMREAD_COLOR)
    assert niqe(harmed, natural) > niqe(image, natural) + 1


@pytest.mark.parametrize('flat_from', [None, 300])
def test_distance_is_that_of_the_paper(flat_from, natural):
    image = data.astronaut()[:480, :480].copy()
    if flat_from is not None:
        image[flat_from:] = 7
    features = block_features(image)[0].numpy()
    complete = np.isfinite(features).all(axis=1)
    assert complete.tolist() == (25 * [True] if flat_from is None else 20 * [True] + 5 * [False])
    off = natural.mean.numpy() - np.nanmean(features, axis=0)
    pooled = (natural.covariance.numpy() + np.cov(features[complete], rowvar=False)) / 2
    assert niqe(image, natural) == pytest.approx(math.sqrt(off @ np.linalg.inv(pooled) @ off), rel=1e-6)


def test_only_sharp_blocks_are_fitted():
    sharp = [image[:480, :480] for image in (data.gravel(), data.grass())]
    half_blurred = [np.hstack([image, cv2.GaussianBlur(image, (0, 0), 4)]) for image in sharp]
    # but for the blocks at the seam
    torch.testing.assert_close(fit_niqe(half_blurred).mean, fit_niqe(sharp).mean, rtol=0.05, atol=0.005)
    with pytest.raises(ValueError, match='only 25 sharp blocks'):
        fit_niqe(half_blurred[:1])


def test_file_goes_around(natural, tmp_path):
    save_niqe(natural, tmp_path / 'model.npz')
    again = load_niqe(tmp_path / 'model.npz')
    assert torch.equal(again.mean, natural.mean) and torch.equal(again.covariance, natural.covariance)


def test_folder_is_fitted(natural, tmp_path):
    (tmp_path / 'photos' / 'inner').mkdir(parents=True)
    for i, image in enumerate(photographs()):
        cv2.imwrite(
            str(tmp_path / 'photos' / ('inner' if i % 2 else '') / f'{i}.png'),
            image[..., ::-1] if image.ndim == 3 else image,
        )
    fit_niqe_folder(tmp_path / 'photos', tmp_path / 'model.npz')
    torch.testing.assert_close(load_niqe(tmp_path / 'model.npz').mean, natural.mean)


@pytest.mark.parametrize(
    ('content', 'message'),
    [
        (None, 'cannot be read'),
        (b'nothing', 'cannot be read'),
        ({'mean': np.zeros(36)}, 'has no mu_pris_param'),
        ({'mu_pris_param': np.zeros(36), 'cov_pris_param': np.zeros((35, 36))}, 'not of 36 features'),
        ({'mu_pris_param': np.full(36, np.nan), 'cov_pris_param': np.eye(36)}, 'not finite'),
        ({'mu_pris_param': np.array([{}], object), 'cov_pris_param': np.eye(36)}, 'holds objects'),
    ],
)
def test_other_files_are_refused_in_one_line(content, message, tmp_path):
    path = tmp_path / 'model.npz'
    if isinstance(content, dict):
        np.savez(path, **content)
    elif content is not None:
        path.write_bytes(content)
    with pytest.raises(SagaError, match=message) as error:
        load_niqe(path)
    assert str(path) in str(error.value) and '\n' not in str(error.value)


def test_mistakes_are_named(natural, tmp_path):
    for image in (np.zeros((100, 100, 3), np.uint8), np.zeros((20, 4000), np.uint8), np.full((300, 300), 9, np.uint8)):
        with pytest.raises(ValueError, match='two blocks of 96x96'):
            niqe(image, natural)
    with pytest.raises(ValueError, match='more than 36'):
        fit_niqe([data.chelsea()])
    cv2.imwrite(str(tmp_path / 'one.png'), data.chelsea())
    with pytest.raises(SagaError, match='add photographs'):
        fit_niqe_folder(tmp_path, tmp_path / 'model.npz')
    with pytest.raises(SagaError, match=r'ends in .npz'):
        fit_niqe_folder(tmp_path, tmp_path / 'model')
