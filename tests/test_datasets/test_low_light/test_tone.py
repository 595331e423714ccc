import numpy as np
import pytest

from saga_mm.datasets.low_light.tone import ToneCurve, compress_highlights, linear_to_srgb


@pytest.mark.parametrize('contrast', [0, 0.4, 1])
def test_light_and_values_are_inverse(contrast: float):
    curve = ToneCurve(contrast)
    assert np.abs(255 * curve.encode(curve.light()) - np.arange(256)).max() < 0.3
    assert curve.light()[[0, 255]] == pytest.approx([0, 1], abs=1e-6) and (np.diff(curve.light()) > 0).all()


def test_contrast_is_the_published_polynomial_of_the_srgb_curve():
    light = np.linspace(0, 1, 50)
    g = linear_to_srgb(light)
    assert np.abs(ToneCurve(1).encode(light) - (3 * g**2 - 2 * g**3)).max() < 2e-3
    assert np.abs(ToneCurve(0.3).encode(light) - (0.7 * g + 0.3 * (3 * g**2 - 2 * g**3))).max() < 2e-3
    assert np.abs(ToneCurve(0).encode(light) - g).max() < 2e-3


def test_what_is_brighter_than_white_is_clipped():
    assert ToneCurve().encode(np.array([1, 7.0, -1])) == pytest.approx([1, 1, 0])


def test_headroom_is_for_whites():
    curve = ToneCurve(0.5)
    assert curve.light(2)[255] == pytest.approx(4) and np.array_equal(curve.light(2)[:231], curve.light()[:231])


def test_highlights_are_compressed_and_keep_their_order():
    light = np.linspace(0, 4, 400)
    found = compress_highlights(light)
    assert np.array_equal(found[light <= 0.5], light[light <= 0.5])
    assert (np.diff(found) > 0).all() and found.max() < 1
    # no corner where it begins
    assert np.abs(np.diff(found, 2)).max() < 3e-4
