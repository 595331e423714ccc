"""Exposure: its curve, its state over pieces, and the gain that reaches a mean luminance."""

import pytest
import torch

from saga_mm.analysis.cost import measure_cost
from saga_mm.models.enhancement import LowLightEnhancer
from saga_mm.models.enhancement.exposure import HELD_STOPS, STOPS, Exposure, expose, luminance
from saga_mm.ops import Grid, map_to_tokens


def dark_image(*size: int, batch: int = 1, level: float = 0.1) -> torch.Tensor:
    generator = torch.Generator().manual_seed(0)
    return (torch.rand(batch, 3, *size, generator=generator, dtype=torch.float64) * 2 * level).clamp(0, 1)


@pytest.mark.parametrize('gain', [0.2, 1.0, 3.0, 100.0])
def test_curve_keeps_black_and_white_and_rises(gain: float) -> None:
    x = torch.linspace(0, 1, 500, dtype=torch.float64)
    y = expose(x, gain)
    assert y[0] == 0 and y[-1] == pytest.approx(1) and (y.diff() > 0).all()
    assert float(expose(torch.tensor(1e-6, dtype=torch.float64), gain)) == pytest.approx(gain * 1e-6, rel=1e-3)
    # the inverse is the curve of the inverse gain
    assert torch.allclose(expose(y, 1 / gain), x)


@pytest.mark.parametrize('wanted', [0.05, 0.3, 0.7])
@pytest.mark.parametrize('size', [(64, 48), (37, 53), (1, 1)])
def test_gain_reaches_the_mean_luminance(size: tuple[int, int], wanted: float) -> None:
    exposure = Exposure().double()
    # every pixel is looked at
    image = dark_image(*size, batch=2).repeat_interleave(4, 2).repeat_interleave(4, 3)
    gain = exposure.gain(exposure.measure(image), torch.full((2,), wanted, dtype=torch.float64))
    assert gain.shape == (2, 1, 1, 1)
    assert luminance(expose(image, gain)).tolist() == pytest.approx([wanted] * 2, abs=2e-3)


def test_gain_ends_where_a_brightness_cannot_be_reached() -> None:
    exposure = Exposure()
    black, white = torch.zeros(1, 3, 8, 8), torch.ones(1, 3, 8, 8)
    for image in (black, white):
        gain = exposure.gain(exposure.measure(image), torch.tensor([0.5]))
        assert gain.isfinite().all() and 2**-4 <= gain.item() <= 2**8


def test_states_of_pieces_merge_into_that_of_the_image() -> None:
    exposure, image = Exposure().double(), dark_image(21, 10)
    whole = exposure.measure(image)
    cuts = [(0, 4), (4, 16), (16, 21)]
    pieces = [exposure.write(map_to_tokens(image[:, :, a:b]), Grid(21, 10, a, b)) for a, b in cuts]
    merged = exposure.merge(pieces)
    assert merged.count == whole.count and torch.allclose(merged.levels, whole.levels)


def test_levels_are_the_mean_luminance_at_each_gain() -> None:
    exposure, image = Exposure().double(), dark_image(8, 12, batch=2)
    looked_at = image[:, :, ::4, ::4]
    for i, stops in enumerate(STOPS):
        expected = luminance(expose(looked_at, 2.0**stops))
        assert torch.allclose(exposure.measure(image).levels[:, i], expected)


def test_a_new_model_predicts_the_usual_brightness() -> None:
    exposure = Exposure()
    assert exposure.predict(exposure.measure(torch.rand(3, 3, 16, 16))).tolist() == pytest.approx([0.4] * 3)


@pytest.mark.parametrize('batch', [1, 3])
def test_a_night_with_lamps_is_held_and_a_dark_day_is_not(batch: int) -> None:
    exposure = Exposure().double()
    day = dark_image(128, 128, batch=batch, level=0.005)
    night = day.clone()
    night[:, :, 40:48, 40:48] = 1.0
    gains = [exposure.gain(exposure.measure(image)).flatten() for image in (day, night)]
    assert (gains[0] > 2**6).all()
    assert gains[1].tolist() == pytest.approx([2**HELD_STOPS] * batch)
    # a faint lamp holds it less, and a brightness that is asked for is reached
    day[:, :, 40:44, 40:44] = 0.5
    assert (gains[1] < exposure.gain(exposure.measure(day)).flatten()).all()
    assert (exposure.gain(exposure.measure(day)).flatten() < gains[0]).all()
    wanted = torch.full((batch,), 0.4, dtype=torch.float64)
    state = exposure.measure(night)
    asked = exposure.gain(state, wanted)
    assert luminance(expose(night[:, :, ::4, ::4], asked)).tolist() == pytest.approx([0.4] * batch, abs=2e-3)
    assert exposure.brightness(state, torch.zeros_like(wanted)).tolist() == exposure.brightness(state).tolist()


def test_the_predicted_brightness_learns() -> None:
    torch.manual_seed(0)
    exposure = Exposure()
    image = torch.rand(4, 3, 16, 16)
    image *= torch.tensor([0.1, 0.4, 0.7, 1.0]).view(4, 1, 1, 1)
    wanted = torch.tensor([0.2, 0.4, 0.5, 0.6])
    optimizer = torch.optim.Adam(exposure.parameters(), 0.02)
    state = exposure.measure(image)
    for _ in range(200):
        optimizer.zero_grad()
        (exposure.predict(state) - wanted).abs().mean().backward()
        optimizer.step()
    assert exposure.predict(state).tolist() == pytest.approx(wanted.tolist(), abs=0.02)


def test_exposure_costs_next_to_nothing_and_can_be_traced() -> None:
    trunk = {'type': 'saga_mm.SAGAUNet', 'arch': 'tiny'}
    models = [LowLightEnhancer(trunk, exposure=exposure).eval() for exposure in (None, {'type': 'saga_mm.Exposure'})]
    plain, exposed = (measure_cost(model, torch.empty(1, 3, 256, 256)) for model in models)
    # the image as it came and its gain are held beside the exposed one
    held = 4 * 3 * 256 * 256 + 4
    assert exposed.macs < 1.001 * plain.macs and exposed.peak_bytes <= plain.peak_bytes + held
