import numpy as np
import pytest

from saga_mm.datasets.low_light.darken import SynthesizeLowLight
from saga_mm.datasets.low_light.scene import add_lamps


def test_lamps_are_brighter_than_white_and_their_glow_falls():
    light = add_lamps((60, 90), 1, np.random.default_rng(2))
    assert light.shape == (60, 90, 3) and light.max() > 1
    y, x = np.unravel_index(light[..., 1].argmax(), (60, 90))
    # along the longer side of the row, away from the lamp
    row = light[y, x:, 1] if x < 45 else light[y, x::-1, 1]
    assert (np.diff(row) <= 1e-6).all() and 0 < row[-1] < 0.2 * row[0]


def test_no_lamps_no_light():
    assert not add_lamps((8, 9), 0, np.random.default_rng(0)).any()


def test_lamps_are_in_both_pictures_alike():
    image = np.full((64, 64, 3), 120, np.uint8)
    # photons without noise, no camera
    clean = {'matrix': 0, 'mosaic': 0, 'smeared': 0, 'quality': None, 'read_noise': (0, 0), 'row_noise': (0, 0)}
    clean.update(electrons=(1e7, 1e7), black_level=0, cast=0, contrast=(0, 0), exposure=(4, 4))
    for seed in range(20):
        dark, bright = SynthesizeLowLight(lamps=(1, 1), **clean).pair(image, np.random.default_rng(seed))
        added = (bright > 121).any(2)
        assert added.any() and (bright >= image).all()
        # white in the one is white in the other
        assert ((dark == 255) <= (bright == 255)).all()


@pytest.mark.parametrize('count', [0, 3])
def test_the_picture_stays_without_lamps(count: int):
    image = np.arange(48, dtype=np.uint8).reshape(4, 4, 3) * 5
    bright = SynthesizeLowLight(lamps=(count, count)).pair(image, np.random.default_rng(0))[1]
    assert np.array_equal(bright, image) == (count == 0)
