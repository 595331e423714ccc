"""Transforms of classification: sizes, ranges, and what the operations do."""

import numpy as np
import pytest
import torch

from saga_mm.datasets.classification.augment import OPERATIONS, apply_operation
from saga_mm.datasets.classification.transforms import (
    LoadImageFromNDArray,
    PackClassInputs,
    RandAugment,
    RandomErasing,
    RandomResizedCrop,
    ResizeEdge,
)


@pytest.fixture(autouse=True)
def draws():
    np.random.seed(0)


def picture(height=41, width=67):
    rows, columns = np.mgrid[:height, :width]
    return np.stack([rows * 5 % 256, columns * 3 % 256, (rows + columns) % 256], -1).astype(np.uint8)


@pytest.mark.parametrize(('size', 'wanted'), [((41, 67), (24, 39)), ((67, 41), (39, 24)), ((5, 5), (24, 24))])
def test_the_shorter_edge_gets_the_length(size, wanted):
    results = ResizeEdge(24)({'img': picture(*size)})
    assert results['img'].shape[:2] == results['img_shape'] == wanted


def test_crops_lie_inside_and_have_the_area_that_was_drawn():
    crop = RandomResizedCrop((16, 24), crop_ratio_range=(0.2, 0.5))
    for _ in range(50):
        top, left, height, width = crop._box(40, 60)
        assert 0 <= top <= 40 - height and 0 <= left <= 60 - width
        assert 0.17 < height * width / 2400 < 0.55 and 0.7 < width / height < 1.4
    assert crop({'img': picture()})['img'].shape == (16, 24, 3)
    # no part of this shape has so large an area
    assert RandomResizedCrop(8, (1.0, 1.0))._box(10, 100) == (0, 43, 10, 13)


@pytest.mark.parametrize('name', OPERATIONS)
def test_operations_keep_size_and_type(name):
    image = picture()
    for strength in (0.0, 0.9, 1.0):
        for sign in (-1, 1):
            out = apply_operation(image, name, strength, sign)
            assert out.shape == image.shape and out.dtype == np.uint8
    assert not np.array_equal(apply_operation(image, name, 0.9, 1), image)


@pytest.mark.parametrize('name', sorted(set(OPERATIONS) - {'auto_contrast', 'equalize', 'invert', 'posterize'}))
def test_operations_of_no_strength_do_nothing(name):
    out = apply_operation(picture(), name, 0.0, 1)
    assert np.abs(out.astype(int) - picture()).max() <= 1


def test_operations_by_their_definition():
    image = picture()
    assert np.array_equal(apply_operation(image, 'invert', 0.5, 1), 255 - image)
    assert np.array_equal(apply_operation(image, 'posterize', 1.0, 1), image & 0b10000000)
    assert np.array_equal(apply_operation(image, 'solarize', 0.5, 1), np.where(image < 128, image, 255 - image))
    added = apply_operation(image, 'solarize_add', 1.0, 1)
    assert np.array_equal(added[image < 128], image[image < 128] + 110) and (added >= image).all()
    # by 0.45 of the width, to the right
    moved = apply_operation(image, 'translate_x', 0.5, 1)
    assert np.array_equal(moved[:, 16:], image[:, 1:52]) or np.abs(moved[:, 30] - image[:, 15]).max() <= 5


def test_rand_augment_draws_as_often_as_it_says():
    image = picture()
    assert np.array_equal(RandAugment(prob=0.0)({'img': image})['img'], image)
    changed = sum(not np.array_equal(RandAugment()({'img': image})['img'], image) for _ in range(200))
    assert 0.6 < changed / 200 < 0.85


def test_erasing_draws_noise_of_the_data_into_a_rectangle():
    image = np.full((60, 80, 3), 255, np.uint8)
    erased = RandomErasing(1.0, (0.2, 0.3))({'img': image})['img']
    assert (image == 255).all()
    changed = (erased != 255).any(-1)
    rows, columns = np.flatnonzero(changed.any(1)), np.flatnonzero(changed.any(0))
    box = erased[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]
    assert 0.15 < box.shape[0] * box.shape[1] / 4800 < 0.35
    assert box.reshape(-1, 3).mean(0) == pytest.approx([104, 116, 123], abs=8)
    assert not sum((RandomErasing(0.0)({'img': image})['img'] != 255).any() for _ in range(5))


def test_packed():
    results = LoadImageFromNDArray()({'img': picture(), 'gt_label': 3, 'img_path': 'a.jpg'})
    packed = PackClassInputs()(results)
    assert packed['inputs'].shape == (3, 41, 67) and packed['inputs'].dtype == torch.uint8
    sample = packed['data_samples']
    assert sample.gt_label == 3 and sample.ori_shape == sample.img_shape == (41, 67) and sample.img_path == 'a.jpg'
    assert 'gt_label' not in PackClassInputs()({'img': picture()})['data_samples']
