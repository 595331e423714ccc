import cv2
import numpy as np
import pytest

from saga_mm.evaluation.noise import noise_profile


def noisy(level: float, spread: float, blur: float = 0.0, seed: int = 0) -> np.ndarray:
    noise = np.random.default_rng(seed).standard_normal((256, 256, 1), np.float32)
    noise = noise if not blur else cv2.GaussianBlur(noise, (0, 0), blur)[..., None]
    noise = noise / noise.std() * spread
    ramp = np.linspace(-6, 6, 256, dtype=np.float32)[None, :, None]
    return np.rint(np.repeat(level + ramp + noise, 3, 2)).clip(0, 255).astype(np.uint8)


def test_noise_at_each_brightness():
    found = noise_profile([noisy(48, 2), noisy(160, 5)])
    assert np.isnan(found.luma[0])
    # the flattest tenth has a little less than all
    assert found.luma[4] == pytest.approx(2, rel=0.15) and found.luma[6] == pytest.approx(5, rel=0.15)
    assert np.nanmax(found.colour) < 0.1
    assert found.channels == pytest.approx(np.full(3, 104), abs=1)


def test_reach_is_that_of_the_noise():
    assert np.abs(noise_profile([noisy(100, 4)]).luma_reach).max() < 0.1
    first, second, fourth = noise_profile([noisy(100, 4, blur=1.2)]).luma_reach
    assert first > 0.6 and second > 0.2 and first > second > fourth


def test_noise_of_colours_is_apart_from_luma():
    image = noisy(100, 0)
    image[..., 0] += np.random.default_rng(1).integers(0, 9, image.shape[:2], dtype=np.uint8)
    found = noise_profile([image])
    assert found.colour[5] > 1


def test_pictures_too_small_are_refused():
    with pytest.raises(ValueError, match='16 x 16'):
        noise_profile([np.zeros((8, 40, 3), np.uint8)])
