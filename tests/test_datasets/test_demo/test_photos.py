import hashlib
from pathlib import Path

import cv2
import numpy as np
import pytest

from saga_mm.datasets.demo.photos import BRIGHT, PHOTOS, make_demo_photos, read_sample_photo
from saga_mm.datasets.demo.shapes import ensure_demo_data
from saga_mm.datasets.low_light.pairs import PairedLowLightDataset
from saga_mm.errors import SagaError

SIZES = {'num_train': 10, 'num_val': 4, 'size': 64}


@pytest.fixture(scope='module')
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_demo_photos(tmp_path_factory.mktemp('demo') / 'photos', **SIZES, progress=False)


def pictures(root: Path) -> dict[str, np.ndarray]:
    return {path.relative_to(root).as_posix(): cv2.imread(str(path)) for path in sorted(root.rglob('*.png'))}


def test_bright_pictures_to_train_on_and_pairs_to_validate(root: Path):
    found = pictures(root)
    assert all(picture.shape == (64, 64, 3) for picture in found.values())
    folders = [name.rpartition('/')[0] for name in found]
    assert [folders.count(name) for name in ('train/high', 'val/high', 'val/low')] == [10, 4, 4]
    for name, picture in found.items():
        if 'high' in name:
            assert picture.mean() > BRIGHT - 3
        else:
            assert picture.mean() < found[name.replace('low', 'high')].mean() / 2
    text = (root / 'README.txt').read_text()
    assert '10 crops of 64 x 64' in text and 'chelsea.png' in text and '{' not in text


def test_dark_pictures_show_the_same_as_bright_ones(root: Path):
    found = pictures(root)
    for index in range(4):
        low, high = (found[f'val/{side}/{index:06d}.png'] for side in ('low', 'high'))
        blurred = [cv2.GaussianBlur(side, (0, 0), 3).mean(axis=2).ravel() for side in (low, high)]
        assert np.corrcoef(*blurred)[0, 1] > 0.8


def test_same_seed_same_pixels_and_a_longer_set_starts_alike(root: Path, tmp_path: Path):
    longer = pictures(make_demo_photos(tmp_path / 'longer', **{**SIZES, 'num_train': 11}, progress=False))
    other = pictures(make_demo_photos(tmp_path / 'other', **SIZES, seed=1, progress=False))
    for name, picture in pictures(root).items():
        assert np.array_equal(longer[name], picture)
        assert not np.array_equal(other[name], picture)


def test_splits_share_no_photograph_and_each_is_used():
    assert not set(PHOTOS['train']) & set(PHOTOS['val'])
    hashes = [hashlib.sha256(read_sample_photo(name).tobytes()).digest() for part in PHOTOS.values() for name in part]
    assert len(set(hashes)) == len(hashes)


def test_gray_photographs_are_coloured_and_others_are_not(root: Path):
    found = pictures(root)
    gray = PHOTOS['train'].index('brick.png')
    brick = found[f'train/high/{gray:06d}.png'].astype(float)
    ratios = brick.mean(axis=(0, 1)) / brick.mean()
    assert np.ptp(ratios) > 0.02
    assert np.abs(brick / brick.mean(axis=2, keepdims=True) - ratios).max() < 0.1


def test_it_is_a_data_set(root: Path):
    train = PairedLowLightDataset(str(root / 'train'), low=None, lazy_init=True).load_data_list()
    val = PairedLowLightDataset(str(root / 'val'), lazy_init=True).load_data_list()
    assert len(train) == 10 and set(train[0]) == {'gt_path'}
    assert len(val) == 4 and set(val[0]) == {'img_path', 'gt_path'}


def test_a_config_asks_for_it(root: Path, tmp_path: Path):
    spec = {'type': 'photos', 'root': str(tmp_path / 'x'), **SIZES, 'progress': False}
    ensure_demo_data(spec)
    made = pictures(tmp_path / 'x')
    assert list(made) == list(pictures(root))
    (tmp_path / 'x/train/high/000003.png').write_bytes(b'')
    ensure_demo_data(spec)
    assert (tmp_path / 'x/train/high/000003.png').stat().st_size == 0, 'what is complete is not made again'
    (tmp_path / 'x/train/high/000003.png').unlink()
    ensure_demo_data(spec)
    assert np.array_equal(pictures(tmp_path / 'x')['train/high/000003.png'], made['train/high/000003.png'])
    with pytest.raises(SagaError, match=r"does not know 'sise'. Its keys are root, num_train"):
        ensure_demo_data({**spec, 'sise': 3})


@pytest.mark.parametrize(
    ('args', 'message'),
    [
        ({'num_train': 0}, 'num_train must be an integer from 1'),
        ({'size': 301}, 'size must be an integer from 64 to 300'),
        ({'seed': -1}, 'seed'),
    ],
)
def test_arguments_out_of_range_are_refused(tmp_path: Path, args: dict, message: str):
    with pytest.raises(SagaError, match=message):
        make_demo_photos(tmp_path / 'x', **args)
    assert not list(tmp_path.iterdir())
