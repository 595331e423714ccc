from types import SimpleNamespace

import pytest
import torch

from saga_mm.datasets.low_light.sample import LowLightSample
from saga_mm.engine.progressive import ProgressiveCropHook
from saga_mm.errors import SagaError
from saga_mm.registry import HOOKS


def batch(sizes):
    """Images in which each pixel says where it is, and ground truths that say the same, plus 100."""
    images, samples = [], []
    for height, width in sizes:
        places = torch.arange(height)[:, None] + torch.arange(width) / 1000
        images.append(places.expand(3, -1, -1))
        sample = LowLightSample()
        sample.gt_img = images[-1] + 100
        samples.append(sample)
    return {'inputs': images, 'data_samples': samples}


def cut(hook, iteration, data):
    hook.before_train_iter(SimpleNamespace(iter=iteration, max_iters=10), 0, data)
    return data['inputs'], [sample.gt_img for sample in data['data_samples']]


def test_sizes_follow_the_share_of_the_training():
    hook = HOOKS.build(dict(type='saga_mm.ProgressiveCropHook', sizes=[8, 16, 12], starts=[0, 0.4, 0.75]))
    assert [hook.size_at(iteration, 10) for iteration in range(10)] == [8] * 4 + [16] * 4 + [12] * 2
    assert [hook.size_at(iteration, 150000) for iteration in (0, 59999, 60000, 112500, 149999)] == [8, 8, 16, 12, 12]


def test_image_and_ground_truth_are_cut_alike_at_places_of_their_own():
    torch.manual_seed(0)
    hook = ProgressiveCropHook(sizes=(8, 16), starts=(0, 0.5))
    corners = set()
    for _ in range(20):
        images, truths = cut(hook, 0, batch([(20, 30)] * 2))
        assert all(image.shape == (3, 8, 8) for image in images)
        assert all(torch.equal(image + 100, truth) for image, truth in zip(images, truths))
        corners |= {round(float(image[0, 0, 0]), 3) for image in images}
    rows, columns = {int(corner) for corner in corners}, {round(corner % 1 * 1000) for corner in corners}
    assert rows <= set(range(13)) and len(rows) > 8 and columns <= set(range(23)) and len(columns) > 12
    images, _ = cut(hook, 5, batch([(20, 30)]))
    assert images[0].shape == (3, 16, 16)


def test_smaller_images_stay_as_they_are():
    images, truths = cut(ProgressiveCropHook(), 0, batch([(50, 120)]))
    assert images[0].shape == truths[0].shape == (3, 50, 96)


@pytest.mark.parametrize(
    ('sizes', 'starts'),
    [([96], [0, 0.5]), ([96, 128], [0.5, 0]), ([96, 128], [0.1, 0.5]), ([96, 128], [0, 1]), ([], [])],
)
def test_lists_that_do_not_fit_are_refused(sizes, starts):
    with pytest.raises(SagaError, match='must be of one length, and starts must rise'):
        ProgressiveCropHook(sizes, starts)
