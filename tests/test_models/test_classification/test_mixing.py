"""Mixup and CutMix: images and targets are mixed alike."""

import numpy as np
import pytest
import torch

from saga_mm.models.classification import CutMix, Mixup
from saga_mm.models.classification.mixing import mix_batch


def test_mixup_mixes_images_and_targets_alike():
    images = torch.arange(4.0).view(4, 1, 1, 1).expand(4, 3, 2, 2)
    mixed, targets = Mixup(0.8)(images, torch.eye(4))
    torch.testing.assert_close(targets.sum(1), torch.ones(4))
    torch.testing.assert_close(mixed[:, 0, 0, 0], targets @ torch.arange(4.0))


def test_cutmix_shares_are_those_of_the_pixels():
    images = torch.arange(4.0).view(4, 1, 1, 1).expand(4, 3, 17, 23)
    for _ in range(20):
        mixed, targets = CutMix()(images, torch.eye(4))
        torch.testing.assert_close(mixed.mean((1, 2, 3)), targets @ torch.arange(4.0))


def test_a_batch_is_mixed_by_one_of_those_given():
    images, targets = torch.randn(4, 3, 8, 8), torch.eye(4)
    assert mix_batch([], images, targets) == (images, targets)
    np.random.seed(0)
    # what CutMix pastes was there before, what Mixup blends was not
    pasted = {bool(torch.isin(mix_batch([Mixup(), CutMix()], images, targets)[0], images).all()) for _ in range(20)}
    assert pasted == {True, False}
    with pytest.raises(ValueError, match='alpha=0 must be above 0'):
        Mixup(0)
