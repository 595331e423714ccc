import numpy as np
import pytest

from saga_mm.datasets.low_light.sensor import (
    Sensor,
    capture,
    draw_camera,
    from_mosaic,
    smear,
    to_mosaic,
)


def sensor(**changes: object) -> Sensor:
    """Almost no noise, no colours of its own."""
    usual = Sensor(1e8, 0.0, 0.0, np.zeros(3), np.eye(3), np.ones(3), False)
    return usual._replace(**changes)


def rng(seed: int = 0) -> np.random.Generator:
    return np.random.default_rng(seed)


def gray(value: float, side: int = 64) -> np.ndarray:
    return np.full((side, side, 3), value, np.float32)


def smooth_scene() -> np.ndarray:
    rows, columns = np.mgrid[:32, :48] / 48
    return np.stack([0.2 + 0.5 * rows, 0.3 + 0.4 * columns, 0.6 - 0.3 * rows * columns], axis=2).astype(np.float32)


def test_cameras_keep_white_and_differ():
    (matrix, gains), (other, _) = draw_camera(rng(0)), draw_camera(rng(1))
    assert matrix.sum(1) == pytest.approx(np.ones(3))
    assert gains[1] == 1 and 1.5 <= gains[0] <= 1.9 and 1.9 <= gains[2] <= 2.4
    assert np.abs(matrix - other).max() > 0.01
    # blue of the sensor is mostly blue, and so on
    assert (matrix.argmax(1) == np.arange(3)).all()


@pytest.mark.parametrize('mosaic', [False, True])
def test_without_noise_a_camera_gives_back_the_light(mosaic: bool):
    matrix, gains = draw_camera(rng(3))
    found = capture(smooth_scene(), sensor(to_camera=matrix, gains=gains, mosaic=mosaic), rng())
    assert np.abs(found - smooth_scene())[1:-1, 1:-1].max() < 0.01


def test_light_beyond_white_is_white_whatever_the_camera():
    matrix, gains = draw_camera(rng(3))
    assert capture(gray(5.0, 8), sensor(to_camera=matrix, gains=gains), rng()) == pytest.approx(
        np.ones((8, 8, 3)), abs=1e-3
    )


def test_gains_make_red_and_blue_noisier_than_green():
    gains = draw_camera(rng(3))[1]
    found = capture(gray(0.2), sensor(electrons=200.0, to_camera=np.eye(3), gains=gains), rng())
    blue, green, red = found.var((0, 1))
    assert (blue / green, red / green) == pytest.approx((gains[0], gains[2]), rel=0.15)


def test_noise_of_a_mosaic_reaches_to_neighbours():
    def reach(mosaic: bool) -> float:
        noise = capture(gray(0.3, 128), sensor(electrons=200.0, mosaic=mosaic), rng())[..., 2]
        noise = noise - noise.mean()
        return float((noise[:, 1:] * noise[:, :-1]).mean() / noise.var())

    assert abs(reach(False)) < 0.05 and reach(True) > 0.3


def test_noise_of_rows_is_one_number_for_each_row():
    found = capture(gray(0.3), sensor(electrons=1000.0, row_noise=100.0), rng())
    rows = found.mean((1, 2))
    assert rows.std() == pytest.approx(0.1, rel=0.25)
    assert found.std(1).max() < 0.3 * rows.std()


def test_black_level_errors_tint_what_is_dark_alone():
    error = np.array([0.0, 0.0, 20.0])
    dark, bright = (capture(gray(x), sensor(electrons=1000.0, black_level=error), rng()).mean((0, 1)) for x in (0, 0.5))
    assert dark == pytest.approx([0, 0, 0.02], abs=1e-3)
    assert bright[2] / bright[1] == pytest.approx(1.04, abs=0.01)


def test_what_is_below_black_is_cut():
    found = capture(gray(0.0), sensor(electrons=1000.0, read_noise=30.0), rng())
    assert found.min() == 0 and (found == 0).mean() == pytest.approx(0.5, abs=0.02)


def test_mosaic_keeps_one_colour_of_each_pixel():
    image = np.arange(5 * 6 * 3, dtype=np.float32).reshape(5, 6, 3) / 90
    mosaic = to_mosaic(image)
    assert mosaic[0, 0] == image[0, 0, 2] and mosaic[1, 1] == image[1, 1, 0]
    assert mosaic[0, 1] == image[0, 1, 1] and mosaic[1, 0] == image[1, 0, 1]


@pytest.mark.parametrize('size', [(8, 8), (7, 10), (2, 3)])
def test_colours_of_a_mosaic_are_in_their_places(size: tuple[int, int]):
    image = np.broadcast_to(np.float32([0.1, 0.4, 0.8]), (*size, 3))
    found = from_mosaic(to_mosaic(image))
    assert found.shape == image.shape and np.abs(found - image).max() < 1e-3


@pytest.mark.parametrize('size', [(1, 1), (1, 9), (6, 1)])
def test_pictures_too_small_for_a_mosaic_have_none(size: tuple[int, int]):
    light = np.full((*size, 3), 0.25, np.float32)
    assert np.abs(capture(light, sensor(mosaic=True), rng()) - light).max() < 0.01


def test_smearing_makes_blotches_of_colour_and_keeps_edges_of_luma():
    image = gray(0.2, 96)
    image[:, 48:] = 0.7
    noisy = (image + 0.05 * rng().standard_normal(image.shape)).astype(np.float32).clip(0, 1)
    found = smear(noisy, 1.5, 1.0)

    def colour(x: np.ndarray) -> np.ndarray:
        flat = x[:, :40, 2] - x[:, :40].mean(2)
        return flat - flat.mean()

    def reach(x: np.ndarray) -> float:
        noise = colour(x)
        return float((noise[:, 2:] * noise[:, :-2]).mean() / noise.var())

    assert colour(found).std() < 0.4 * colour(noisy).std()
    assert abs(reach(noisy)) < 0.1 and reach(found) > 0.4
    step = found.mean((0, 2))
    assert step[50] - step[45] == pytest.approx(0.5, abs=0.03)


def test_nothing_smeared_is_the_picture_itself():
    image = gray(0.3, 8)
    assert smear(image, 0, 0) is image
