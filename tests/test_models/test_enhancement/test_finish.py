"""What users ask of an answer: strength, brightness and denoising, whole and in rows."""

import pytest
import torch
import torch.nn.functional as F

from saga_mm.errors import ArgumentError
from saga_mm.models.enhancement.exposure import expose, luminance
from saga_mm.models.enhancement.finish import (
    Brightness,
    Finish,
    check_finish,
    finish_image,
    finish_rows,
    with_noise,
)
from saga_mm.ops import Grid, map_to_tokens
from saga_mm.rows import ImageRows, RowRunner


def picture(*size: int, seed: int = 0) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    coarse = torch.rand(1, 3, 4, 4, generator=generator, dtype=torch.float64)
    return F.interpolate(coarse, size, mode='bilinear') ** 2


def rows_of(image: torch.Tensor) -> ImageRows:
    return ImageRows(lambda start, stop: image[:, :, start:stop], *image.shape[2:], image.shape[0])


@pytest.mark.parametrize('brightness', [0.05, 0.5, 0.8])
def test_brightness_is_the_mean_luminance(brightness: float) -> None:
    image, answer = picture(40, 31), 1.1 * picture(40, 31, seed=1) - 0.02
    found = finish_image(image, answer, Finish(brightness=brightness))
    assert luminance(found).item() == pytest.approx(brightness, abs=5e-4)
    # one curve for all: equal values stay equal, and order stays
    flat, order = answer.clamp(0, 1).flatten().sort()
    assert (found.flatten()[order].diff() > -1e-12).all() and flat.isfinite().all()


def test_each_image_of_a_batch_has_the_brightness() -> None:
    answer = torch.cat([picture(20, 20), 0.2 * picture(20, 20, seed=2)])
    found = finish_image(answer, answer, Finish(brightness=0.4))
    assert luminance(found).tolist() == pytest.approx([0.4, 0.4], abs=5e-4)


@pytest.mark.parametrize('value', [0.0, 1.0])
def test_a_brightness_that_cannot_be_reached_is_one_line(value: float) -> None:
    image = torch.full((1, 3, 8, 8), value)
    with pytest.raises(ArgumentError, match='brightness') as caught:
        finish_image(image, image, Finish(brightness=0.5))
    assert 'cannot be reached' in str(caught.value) and '\n' not in str(caught.value)


def test_histograms_add_over_rows() -> None:
    step, image = Brightness(), picture(33, 20)
    whole = step.write(map_to_tokens(image), Grid.whole(33, 20))
    pieces = [step.write(map_to_tokens(piece), Grid(33, 20, 0, 1)) for piece in image.split(7, 2)]
    merged = step.merge(pieces)
    assert torch.allclose(merged.shares, whole.shares) and merged.count == whole.count == 33 * 20
    assert luminance(expose(image, step.gain(whole, 0.3))).item() == pytest.approx(0.3, abs=5e-4)


def test_without_denoising_the_noise_is_the_images_own() -> None:
    clean = torch.full((1, 3, 64, 64), 0.1, dtype=torch.float64)
    noise = 0.01 * torch.randn(clean.shape, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    image, answer = clean + noise, torch.full_like(clean, 0.5)
    assert torch.equal(with_noise(image, answer, 1), answer)
    inner = (..., slice(10, -10), slice(10, -10))
    found = with_noise(image, answer, 0)[inner]
    gain = (0.5 + 1 / 255) / (0.1 + 1 / 255)
    assert found.mean().item() == pytest.approx(0.1 * gain, rel=0.01)
    assert (found - found.mean()).std().item() == pytest.approx(gain * 0.01, rel=0.1)
    half = with_noise(image, answer, 0.5)[inner]
    assert torch.allclose(half, (found + answer[inner]) / 2)


@pytest.mark.parametrize('finish', [Finish(), Finish(0), Finish(0.6), Finish(1, 0.4), Finish(1.2, 0.4, 0.3)])
def test_rows_equal_the_whole(finish: Finish) -> None:
    image = picture(45, 30)
    answer = F.pad(1.5 * picture(45, 30, seed=3) - 0.2, (0, 2, 0, 3), mode='replicate')
    runner = RowRunner(rows=4)
    rows = finish_rows(rows_of(image), rows_of(answer), finish, runner)
    whole = finish_image(image, answer[:, :, :45, :30], finish)
    assert torch.allclose(runner.gather(rows), whole, rtol=1e-12, atol=1e-12)
    assert torch.allclose(rows.plane(17, 29), whole[:, :, 17:29], rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize(
    ('options', 'name'),
    [
        ({'strength': -1}, 'strength'),
        ({'strength': 'much'}, 'strength'),
        ({'brightness': 0}, 'brightness'),
        ({'brightness': 1.0}, 'brightness'),
        ({'brightness': float('nan')}, 'brightness'),
        ({'denoise': -0.1}, 'denoise'),
        ({'denoise': 1.5}, 'denoise'),
        ({'denoise': True}, 'denoise'),
        ({'denoise': None}, 'denoise'),
    ],
)
def test_numbers_out_of_range_are_refused_by_name(options: dict, name: str) -> None:
    with pytest.raises(ArgumentError, match=name):
        check_finish(Finish(**options))


def test_numbers_in_range_are_plain() -> None:
    assert check_finish(Finish(1, 0.5, 0)) == Finish(1.0, 0.5, 0.0)
    assert check_finish(Finish()) == Finish()
