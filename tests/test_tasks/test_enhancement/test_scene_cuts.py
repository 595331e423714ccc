"""Cuts between scenes: changes of what is seen, not of noise, light or movement."""

import pytest
import torch

from saga_mm.tasks.enhancement.scene_cuts import CutDetector, change_between, thumbnail


def scene(seed: int, light: float = 0.1) -> torch.Tensor:
    """Blocks of brightness, ``(1, 3, 48, 64)``."""
    blocks = torch.rand(1, 1, 12, 16, generator=torch.Generator().manual_seed(seed)) > 0.5
    return light * (0.2 + blocks.float()).repeat_interleave(4, 2).repeat_interleave(4, 3).expand(-1, 3, -1, -1)


def found(frames: list[torch.Tensor], **options: float) -> list[int]:
    cuts = CutDetector(**options)
    return [i for i, frame in enumerate(frames) if cuts(frame)]


@pytest.mark.parametrize('light', [0.004, 0.5])
def test_a_cut_is_found_in_the_dark_as_in_light(light):
    assert found([scene(0, light)] * 3 + [scene(1, light)] * 3 + [scene(0, light)]) == [3, 6]


def test_noise_and_slow_changes_are_no_cuts():
    noise = [scene(0) + 0.05 * torch.randn(1, 3, 48, 64) for _ in range(8)]
    assert found(noise) == []
    assert found([scene(0, 0.1 * 1.2**i) for i in range(8)]) == []
    # a camera that moves by a pixel
    assert found([scene(0).roll(i, 3) for i in range(8)]) == []


def test_where_much_changes_all_the_time_a_cut_is_more_than_that():
    flashes = [scene(0, 0.1 if i % 2 else 0.116) for i in range(8)]
    # a change of 0.4 of the brightness, and flashes of 0.15
    assert found([*flashes[1::2], scene(0, 0.15)]) == [4]
    assert found([*flashes, scene(0, 0.15)]) == []
    assert found([*flashes, scene(1, 0.15)]) == [8]


def test_after_a_cut_all_begins_anew():
    assert found([scene(0), scene(1), scene(1), scene(2)]) == [1, 3]


def test_changes_are_shares_of_the_brightness():
    dark, light = thumbnail(torch.zeros(1, 3, 30, 40)), thumbnail(torch.ones(1, 3, 30, 40))
    assert change_between(light, light) == 0 and change_between(dark, dark) == 0
    assert change_between(dark, light) == 2
    assert change_between(light, 3 * light) == 1
