from itertools import pairwise

import numpy as np
import pytest
import torch

from benchmarks.flicker import mean_change, measure_flicker, static_scene
from saga_mm.models.enhancement import LowLightEnhancer
from saga_mm.models.enhancement.unet_layers import GlobalTone
from saga_mm.models.enhancement.weight_files import build_enhancer
from saga_mm.tasks.enhancement.video import VideoEnhancer

ARCH = {'embed_dims': (8, 8, 16), 'depths': (1, 1, 1), 'num_heads': (0, 1, 2), 'mlp_ratio': 2}


def nervous(seed: int) -> LowLightEnhancer:
    """A model that brightens, by a tone that depends much on its means."""
    torch.manual_seed(seed)
    model = build_enhancer({'backbone': {'type': 'saga_mm.SAGAUNet', 'arch': ARCH}}).eval()
    for name, parameter in model.named_parameters():
        if parameter.ndim > 1:
            torch.nn.init.normal_(parameter, std=0.003 if name == 'head.conv.weight' else 0.3)
    for layer in model.modules():
        if isinstance(layer, GlobalTone):
            torch.nn.init.normal_(layer.fc2.weight, std=0.5)
    torch.nn.init.constant_(model.head.conv.bias[:12], 0.8)
    return model


@pytest.fixture(scope='module')
def scene() -> list[np.ndarray]:
    """A static scene in the dark, with noise of its own in each frame."""
    small = np.random.default_rng(0).integers(0, 256, (4, 5, 3), np.uint8)
    return list(static_scene(small.repeat(10, 0).repeat(10, 1), 16, electrons=200))


def test_frames_of_a_scene_differ_by_noise_alone(scene):
    mean = np.mean(scene, axis=0)
    assert scene[0].shape == (40, 50, 3) and mean.mean() < 80
    for first, second in pairwise(scene):
        assert 1 < np.abs(first.astype(float) - second).mean() < 30
    assert np.abs(np.mean(scene[:8], axis=0) - mean).mean() < 4
    again = static_scene(scene[0], 2)
    assert all(np.array_equal(*pair) for pair in zip(again, static_scene(scene[0], 2)))


@pytest.mark.parametrize('seed', [0, 1, 2])
def test_at_most_a_seventh_of_frame_by_frame(scene, seed):
    model = nervous(seed)
    found = measure_flicker(model, scene)
    answer = VideoEnhancer(model)(scene[0])
    assert answer.mean() > 1.3 * scene[0].mean() and (answer == 255).mean() < 0.3
    assert found.alone > found.source > 0
    assert found.carried <= found.alone / 7


def test_carried_states_alone_calm_the_tone(scene, monkeypatch):
    """The states and the gain each do their part."""
    monkeypatch.setattr(VideoEnhancer, '_gain', lambda self, answer: 1.0)
    found = measure_flicker(nervous(0), scene)
    assert found.carried < 0.7 * found.alone


def test_mean_change():
    levels = [10, 14, 13, 13]
    frames = [np.full((3, 4, 3), level, np.uint8) for level in levels]
    assert mean_change(frames) == pytest.approx(5 / 3)
    green = [np.zeros((2, 2, 3), np.uint8) for _ in range(2)]
    green[1][..., 1] = 100
    assert mean_change(green) == pytest.approx(58.7)
    with pytest.raises(ValueError, match='two frames'):
        mean_change(frames[:1])
