"""The substitutes against stored answers of mmcv's compiled operators, and against those themselves where they are."""

import importlib
import runpy
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from saga_mm.errors import SagaError
from saga_mm.operators import extension, in_use

pytest.importorskip('mmcv')
mmcv_ops = importlib.import_module('mmcv.ops')
CASES = runpy.run_path(str(Path(__file__).parents[1] / 'operator_cases.py'))
GOLDEN = dict(np.load(CASES['GOLDEN']))


@pytest.fixture
def ours(monkeypatch):
    """mmcv's functions on top of our operators."""
    monkeypatch.setattr(extension, 'torchvision', lambda: None)
    for name in ('nms', 'roi_align', 'focal_loss'):
        monkeypatch.setattr(sys.modules[f'mmcv.ops.{name}'], 'ext_module', extension)
    return mmcv_ops


def check(answers: dict[str, np.ndarray], expected: dict[str, np.ndarray]) -> None:
    assert set(answers) == set(expected)
    for name, answer in answers.items():
        assert answer.dtype == expected[name].dtype, name
        if answer.dtype == np.int64:
            assert answer.tolist() == expected[name].tolist(), name
        else:
            np.testing.assert_allclose(answer, expected[name], rtol=1e-5, atol=1e-5, err_msg=name)


def test_stored_answers(ours):
    check(CASES['answers_of'](ours), GOLDEN)


@pytest.mark.skipif(in_use() != "operators: mmcv's compiled ones", reason='mmcv has no compiled operators')
def test_stored_answers_are_those_of_the_compiled_operators():
    check(CASES['answers_of'](mmcv_ops), GOLDEN)


@pytest.mark.parametrize('dtype', [torch.float16, torch.bfloat16])
@pytest.mark.parametrize('name', ['align_7x7_0_centre', 'align_2x5_2_corner'])
def test_half_precision_is_computed_in_float32(ours, dtype, name):
    full = CASES['aligned_by'](ours.roi_align, name, rounded=dtype)
    for key, value in CASES['aligned_by'](ours.roi_align, name, dtype, dtype).items():
        assert value.dtype == dtype
        assert torch.equal(value, full[key].to(dtype))


def test_focal_loss_of_mmcv_on_top_of_ours(ours):
    logits, target = torch.randn(6, 3, requires_grad=True), torch.tensor([0, 2, 3, 1, 3, 0])
    weight = torch.rand(3)
    loss = ours.sigmoid_focal_loss(logits, target, 1.5, 0.3, weight, 'mean')
    loss.backward()
    p = logits.detach().double().sigmoid().requires_grad_()
    expected = sum(
        weight.tolist()[min(t, 2)]
        * (-0.3 * (1 - p[n, c]) ** 1.5 * p[n, c].log() if c == t else -0.7 * p[n, c] ** 1.5 * (1 - p[n, c]).log())
        for n, t in enumerate(target.tolist())
        for c in range(3)
    ) / len(logits)
    expected.backward()
    assert loss.item() == pytest.approx(expected.item(), rel=1e-6)
    torch.testing.assert_close(logits.grad.double(), p.grad * (p * (1 - p)).detach(), rtol=1e-5, atol=1e-7)


def test_zero_boxes(ours):
    maps = torch.ones(2, 3, 5, 7, requires_grad=True)
    bins = ours.roi_align(maps, torch.zeros(0, 5), (4, 2), 1.0, 0, 'avg', True)
    bins.sum().backward()
    assert bins.shape == (0, 3, 4, 2) and not maps.grad.any()
    none, scores = torch.zeros(0, 4), torch.zeros(0)
    assert ours.nms(none, scores, 0.5)[0].shape == ours.soft_nms(none, scores)[0].shape == (0, 5)


def test_maximum_in_a_bin_has_no_substitute(ours):
    with pytest.raises(SagaError, match=r"RoIAlign\(pool_mode='max'\) needs the compiled operators"):
        ours.roi_align(torch.ones(1, 1, 4, 4), torch.zeros(1, 5), 2, 1.0, 0, 'max', True)
