import sys
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch

from benchmarks import low_light
from benchmarks.low_light import brightness_samples, fit_brightness, measure, quality, to_image
from saga_mm.models.enhancement.exposure import ExposureState
from saga_mm.models.enhancement.weight_files import build_enhancer, load_weights, save_weights

SMALL = {'embed_dims': (8, 8, 8), 'depths': (1, 1, 1), 'num_heads': (0, 1, 1), 'mlp_ratio': 1}
CONFIG = {
    'backbone': {'type': 'saga_mm.SAGAUNet', 'arch': SMALL},
    'exposure': {'type': 'saga_mm.Exposure'},
    'edges': 'replicate',
}


@pytest.fixture
def photos(tmp_path):
    folder = tmp_path / 'photos'
    folder.mkdir()
    rng = np.random.default_rng(0)
    for index, highest in enumerate((90, 160, 250)):
        coarse = rng.integers(10, highest, (4, 5, 3), dtype=np.uint8)
        cv2.imwrite(str(folder / f'{index}.png'), cv2.resize(coarse, (60, 48), interpolation=cv2.INTER_CUBIC))
    return folder


@pytest.fixture
def weights(tmp_path):
    torch.manual_seed(0)
    save_weights(tmp_path / 'w.npz', CONFIG, build_enhancer(CONFIG).state_dict(), licence='any use')
    return str(tmp_path / 'w.npz')


def test_figures_of_an_answer():
    bright = to_image(np.full((16, 16, 3), 200, np.uint8))
    found = measure(bright / 2, bright, (bright / 4, bright))
    assert found[0] == pytest.approx(-20 * np.log10(100 / 255), abs=1e-3)
    assert found[2] > 80 and found[4] > 80 and found[5] == 0
    assert measure(torch.ones_like(bright), bright, (bright, bright))[5] == 1


def test_quality_of_weights_beside_input_and_gamma(photos, weights):
    found = quality([weights], list(low_light.darkened_pairs(str(photos))))
    assert list(found) == ['input', 'gamma 0.3', weights]
    assert all(len(figures) == len(low_light.COLUMNS) for figures in found.values())
    # an untrained model exposes, no more, and comes nearer with the true brightness
    assert found[weights][0] > found['input'][0] and found[weights][4] > found['input'][4]


def test_the_fitted_brightness_is_nearer_than_any_constant(photos):
    levels, wanted = brightness_samples(str(photos), draws=6)
    assert levels.shape == (18, 49) and len(wanted) == 18
    exposure = fit_brightness(levels, wanted, steps=150)
    error = (exposure.predict(ExposureState(levels, 1)) - wanted).square().mean()
    assert error < wanted.var(correction=0)


def test_commands(photos, weights, tmp_path, monkeypatch, capsys):
    def run(*options: str) -> str:
        monkeypatch.setattr(sys, 'argv', ['low_light', *options])
        low_light.main()
        return capsys.readouterr().out

    assert 'gamma 0.3' in run('quality', '--weights', weights, '--photos', str(photos))
    assert 'gamma 0.3' in run('quality', '--weights', weights, '--low', str(photos), '--high', str(photos))
    assert 'photos, darkened' in run('noise', str(photos), '--darken', str(photos))
    monkeypatch.setattr(low_light, 'fit_brightness', lambda *samples: fit_brightness(*samples, steps=20))
    run('fit', weights, '--photos', str(photos), '-o', str(tmp_path / 'new.npz'))
    old, new = load_weights(weights), load_weights(tmp_path / 'new.npz')
    assert new.licence == 'any use' and Path(tmp_path / 'new.npz').is_file()
    assert not torch.equal(new.exposure.fc2.bias, old.exposure.fc2.bias)
    assert torch.equal(new.head.conv.weight, old.head.conv.weight)
