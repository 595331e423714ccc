import math

import numpy as np
import pytest

from saga_mm.datasets.low_light.darken import SynthesizeLowLight
from saga_mm.datasets.low_light.tone import linear_to_srgb, srgb_to_linear, to_bytes
from saga_mm.errors import SagaError

# no camera, neither noise nor colour nor loss
CLEAN = {
    'contrast': (0, 0),
    'row_noise': (0, 0),
    'black_level': 0,
    'matrix': 0,
    'mosaic': 0,
    'smeared': 0,
    'lossless': 0,
    'electrons': (1e7, 1e7),
    'read_noise': (0, 0),
    'cast': 0,
    'headroom': (0, 0),
    'quality': None,
}


def flat(value: int, side: int = 64) -> np.ndarray:
    return np.full((side, side, 3), value, np.uint8)


def scene(height: int = 48, width: int = 64) -> np.ndarray:
    rows, columns = np.mgrid[:height, :width]
    return np.stack([rows * 5 % 256, columns * 4 % 256, (rows + columns) * 2 % 256], axis=2).astype(np.uint8)


def darken(image: np.ndarray, seed: int = 0, **options: object) -> np.ndarray:
    return SynthesizeLowLight(**options).darken(image, np.random.default_rng(seed))


def light(image: np.ndarray) -> np.ndarray:
    return srgb_to_linear(image / 255)


def test_srgb_is_the_standard_curve():
    assert srgb_to_linear(np.array([0, 0.04045, 0.5, 1])) == pytest.approx([0, 0.0031308, 0.2140411, 1], rel=1e-5)
    values = np.linspace(0, 1, 999)
    assert np.abs(linear_to_srgb(srgb_to_linear(values)) - values).max() < 1e-6
    assert np.array_equal(to_bytes(linear_to_srgb(light(np.arange(256)))), np.arange(256))


@pytest.mark.parametrize('stops', [0, 1, 3.5])
def test_exposure_divides_linear_light(stops: float):
    image = scene()
    expected = to_bytes(linear_to_srgb(light(image) / 2**stops)).astype(int)
    assert np.abs(darken(image, exposure=(stops, stops), **CLEAN) - expected).max() <= 1


def test_noise_has_the_variance_of_photons_and_of_reading():
    # bright enough and at no stop, so that neither rounding nor clipping at 0 matters
    for electrons, read_noise in ((200, 0), (200, 10), (2000, 0), (2000, 30)):
        options = {**CLEAN, 'electrons': (electrons, electrons), 'read_noise': (read_noise, read_noise)}
        x = float(light(np.array(140)))
        found = light(darken(flat(140, 128), exposure=(0, 0), **options))
        assert found.mean() == pytest.approx(x, rel=0.01)
        assert found.var() == pytest.approx(x / electrons + (read_noise / electrons) ** 2, rel=0.08)


def test_noise_is_independent_between_channels_and_neighbours():
    found = light(darken(flat(140, 128), exposure=(0, 0), **{**CLEAN, 'electrons': (300, 300)}))
    noise = (found - found.mean()) / found.std()
    pairs = [(noise[..., 0], noise[..., 1]), (noise[:-1], noise[1:]), (noise[:, :-1], noise[:, 1:])]
    assert all(abs((a * b).mean()) < 0.03 for a, b in pairs)


def test_less_light_means_relatively_more_noise():
    options = {**CLEAN, 'electrons': (3000, 3000), 'read_noise': (2, 2)}
    spread = []
    for stops in (1, 4):
        found = light(darken(flat(160, 128), exposure=(stops, stops), **options))
        spread.append(found.std() / found.mean())
    # the square root of the eightfold, and reading beside
    assert spread[1] > math.sqrt(8) * spread[0]


@pytest.mark.parametrize('size', [(48, 64), (7, 300), (1, 1)])
def test_falloff_is_smooth_and_leaves_the_brightest_place(size: tuple[int, int]):
    image = np.full((*size, 3), 200, np.uint8)
    found = darken(image, exposure=(1, 1), falloff=(3, 3), **CLEAN)
    stops = np.log2(light(np.array(200)) / light(found))
    assert found.shape == image.shape and stops.min() == pytest.approx(1, abs=0.1)
    if min(size) > 1:
        assert stops.max() == pytest.approx(4, abs=0.1)
        # neighbours differ by little where the picture is large
        assert np.abs(np.diff(stops, axis=1)).max() < 0.5
    assert np.array_equal(
        darken(image, exposure=(1, 1), **CLEAN)[0, 0], darken(flat(200), exposure=(1, 1), **CLEAN)[0, 0]
    )


def test_backlight_darkens_by_brightness_and_keeps_white_and_hues():
    grays = np.repeat(np.arange(0, 256, 5, dtype=np.uint8), 3).reshape(1, -1, 3)
    dark = darken(grays, exposure=(0, 0), backlight=(4, 4), **CLEAN)
    values = grays / 255
    expected = to_bytes(linear_to_srgb(srgb_to_linear(values) * 2.0 ** (-4 * (1 - values))))
    assert np.abs(dark.astype(int) - expected).max() <= 1
    assert (dark[0, -1] == 255).all()

    colour = np.full((8, 8, 3), (40, 90, 180), np.uint8)
    ratios = light(darken(colour, exposure=(0, 0), backlight=(2, 2), **CLEAN))[0, 0] / light(colour)[0, 0]
    assert ratios == pytest.approx(ratios[2], rel=0.05)


def test_cast_scales_red_and_blue_against_green():
    image = flat(180)
    gains = []
    for seed in range(40):
        found = light(darken(image, seed, exposure=(2, 2), **{**CLEAN, 'cast': 0.5})).mean(axis=(0, 1))
        gains.append(np.log2(found * 4 / light(np.array(180))))
    blue, green, red = np.array(gains).T
    assert np.abs(green).max() < 0.03
    for side in (blue, red):
        assert np.abs(side).max() < 0.53 and side.max() > 0.3 and side.min() < -0.3
    assert abs(np.corrcoef(blue, red)[0, 1]) < 0.5


def test_clipped_whites_stay_bright_and_the_rest_does_not():
    options = {**CLEAN, 'exposure': (3, 3), 'headroom': (3, 3)}
    assert (darken(flat(255), **options) == 255).all()
    assert (darken(flat(200), **options) == darken(flat(200), **{**options, 'headroom': (0, 0)})).all()
    ramp = darken(np.arange(256, dtype=np.uint8).reshape(1, -1, 1).repeat(3, 2), **options)
    assert (np.diff(ramp[0, :, 0].astype(int)) >= 0).all()


def test_jpeg_leaves_its_blocks():
    image = scene()
    options = {**CLEAN, 'exposure': (1, 1)}
    exact = darken(image, **options).astype(int)
    errors = [
        np.abs(darken(image, **{**options, 'quality': (quality, quality)}) - exact).mean() for quality in (95, 30)
    ]
    assert 0 < errors[0] < errors[1] / 2


def test_ranges_are_used_whole():
    means = [float(light(darken(flat(200, 8), seed, **{**CLEAN, 'exposure': (1, 4)})).mean()) for seed in range(60)]
    stops = -np.log2(np.array(means) / light(np.array(200)))
    assert 0.9 < stops.min() < 1.3 and 3.7 < stops.max() < 4.1


def test_the_result_depends_on_the_generator_alone():
    image = scene()
    assert np.array_equal(darken(image, 3), darken(image, 3))
    assert not np.array_equal(darken(image, 3), darken(image, 4))
    assert darken(image, 3).shape == image.shape and darken(image, 3).dtype == np.uint8


@pytest.mark.parametrize('shape', [(1, 1), (1, 50), (33, 7)])
def test_any_size(shape: tuple[int, int]):
    assert darken(scene(*shape)).shape == (*shape, 3)


def test_as_a_transform_with_a_seed_it_follows_the_name_alone():
    transform = SynthesizeLowLight(seed=4)

    def run(name: str) -> np.ndarray:
        results = transform({'gt': scene(), 'gt_path': name})
        assert results['img_path'] == name and np.array_equal(results['gt'], scene())
        return results['img']

    assert np.array_equal(run('x/a.png'), run('y/a.png'))
    assert not np.array_equal(run('a.png'), run('b.png'))
    other = SynthesizeLowLight(seed=5)({'gt': scene(), 'gt_path': 'a.png'})['img']
    assert not np.array_equal(run('a.png'), other)


def test_as_a_transform_without_a_seed_it_follows_numpy():
    def run() -> list[np.ndarray]:
        np.random.seed(11)
        return [SynthesizeLowLight()({'gt': scene(), 'gt_path': 'a.png'})['img'] for _ in range(2)]

    first, again = run(), run()
    assert all(np.array_equal(a, b) for a, b in zip(first, again))
    assert not np.array_equal(*first)


@pytest.mark.parametrize(
    'options',
    [
        {'exposure': 3},
        {'exposure': (5, 2)},
        {'exposure': ('a', 'b')},
        {'electrons': (0, 10)},
        {'read_noise': (-1, 1)},
        {'cast': -1},
        {'headroom': (0, 99)},
        {'falloff': (0, 99)},
        {'backlight': (-1, 2)},
        {'quality': (0, 50)},
        {'quality': 'high'},
        {'contrast': (0, 1.5)},
        {'row_noise': (-1, 0)},
        {'smear': 1},
        {'lamps': (0, 1000)},
        {'black_level': -1},
        {'matrix': 2},
        {'mosaic': 1.5},
        {'smeared': 'often'},
        {'lossless': -0.1},
    ],
)
def test_bad_ranges_are_refused_by_name(options: dict):
    with pytest.raises(SagaError, match=f'SynthesizeLowLight: {next(iter(options))} must be two numbers from'):
        SynthesizeLowLight(**options)
