import sys

import pytest
import torch
import torch.nn.functional as F

from saga_mm.errors import SagaError
from saga_mm.models.enhancement.losses import SSIMLoss
from saga_mm.registry import MODELS

NAMES = ('CharbonnierLoss', 'SSIMLoss')
SIZES = ((24, 24), (17, 31), (1, 40), (40, 1), (7, 12))


def build(name, **options):
    return MODELS.build(dict(type=f'saga_mm.{name}', **options))


def pair(height=17, width=31, dtype=torch.float64):
    generator = torch.Generator().manual_seed(height * width)
    target = torch.rand(2, 3, height, width, dtype=torch.float64, generator=generator)
    # beyond [0, 1] in places, as an answer that is not clamped may be
    pred = target + 0.3 * torch.randn(target.shape, dtype=torch.float64, generator=generator)
    return pred.to(dtype).requires_grad_(), target.to(dtype)


def charbonnier(pred, target, eps=1e-3):
    return torch.hypot(pred - target, torch.full_like(pred, eps)).sum() / pred.numel()


def structural(pred, target):
    side = min(11, *(size - (size + 1) % 2 for size in pred.shape[2:]))
    place = torch.arange(side, dtype=torch.float64) - side // 2
    window = torch.exp(-(place[:, None] ** 2 + place**2) / (2 * 1.5**2))
    window = (window / window.sum()).expand(3, 1, side, side)

    def mean(x):
        return F.conv2d(x, window, groups=3)

    mp, mt = mean(pred), mean(target)
    # the definition of covariance, rather than the mean product less the product of means
    patches_p, patches_t = (F.unfold(x, side).unflatten(1, (3, -1)) for x in (pred, target))
    weights = window[0, 0].flatten()[:, None]
    dp, dt = (p - m.flatten(2)[:, :, None] for p, m in ((patches_p, mp), (patches_t, mt)))
    vp, vt, cov = ((weights * a * b).sum(dim=2).view_as(mp) for a, b in ((dp, dp), (dt, dt), (dp, dt)))
    c1, c2 = 0.01**2, 0.03**2
    return 1 - ((2 * mp * mt + c1) * (2 * cov + c2) / ((mp**2 + mt**2 + c1) * (vp + vt + c2))).mean()


FORMULAS = dict(zip(NAMES, (charbonnier, structural)))


@pytest.mark.parametrize('size', SIZES)
@pytest.mark.parametrize('name', NAMES)
def test_value_and_gradient_are_those_of_the_formula(name, size):
    if name == 'SSIMLoss' and 1 in size:
        pytest.skip('has no structure')
    pred, target = pair(*size)
    found = build(name)(pred, target)
    expected = FORMULAS[name](pred, target)
    assert found.shape == () and found.dtype == torch.float64
    # the library's window has the precision of float32
    tolerance = dict(rtol=1e-5, atol=1e-7) if name == 'SSIMLoss' else dict(rtol=1e-10, atol=1e-12)
    torch.testing.assert_close(found, expected, **tolerance)
    torch.testing.assert_close(*(torch.autograd.grad(loss, pred)[0] for loss in (found, expected)), **tolerance)


@pytest.mark.parametrize('name', NAMES)
def test_equal_images_cost_nothing_and_have_a_finite_gradient(name):
    _, target = pair(dtype=torch.float32)
    pred = target.clone().requires_grad_()
    loss = build(name)(pred, target)
    # Charbonnier's least value is eps
    assert loss.item() == pytest.approx(1e-3 if name == 'CharbonnierLoss' else 0, abs=1e-6)
    assert torch.autograd.grad(loss, pred)[0].isfinite().all()


@pytest.mark.parametrize('name', NAMES)
def test_weight_scales(name):
    pred, target = pair()
    torch.testing.assert_close(build(name, loss_weight=0.25)(pred, target), 0.25 * build(name)(pred, target))


@pytest.mark.parametrize('name', NAMES)
@pytest.mark.parametrize('dtype', [torch.float16, torch.bfloat16])
def test_half_precision_is_widened_under_autocast_too(name, dtype):
    pred, target = pair(dtype=dtype)
    expected = build(name)(pred.double(), target.double()).item()
    with torch.autocast('cpu', dtype=torch.bfloat16):
        loss = build(name)(pred, target)
    assert loss.dtype == torch.float32
    assert loss.item() == pytest.approx(expected, rel=1e-5)


@pytest.mark.parametrize('name', NAMES)
def test_shapes_that_would_broadcast_are_refused(name):
    pred, target = pair()
    with pytest.raises(ValueError, match=f'{name}: shapes differ'):
        build(name)(pred, target[:1])


def test_ssim_loss_warns_of_nothing_in_small_images(recwarn):
    build('SSIMLoss')(*pair(3, 40))
    assert not recwarn.list


def test_ssim_loss_says_what_it_cannot_do():
    with pytest.raises(ValueError, match='images of 1x40 pixels'):
        build('SSIMLoss')(*pair(1, 40))


def test_ssim_loss_names_the_missing_library(monkeypatch):
    monkeypatch.setitem(sys.modules, 'pytorch_msssim', None)
    with pytest.raises(SagaError, match='pip install pytorch-msssim'):
        SSIMLoss()
