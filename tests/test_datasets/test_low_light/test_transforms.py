import copy
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from mmengine.dataset import Compose
from PIL import Image

from saga_mm.datasets.low_light.darken import SynthesizeLowLight
from saga_mm.datasets.low_light.transforms import (
    LoadPair,
    PackLowLightInputs,
    PairExposureJitter,
    PairRandomCrop,
    PairRandomFlip,
    read_bgr,
)
from saga_mm.errors import SagaError


def pair(height: int = 7, width: int = 9) -> dict:
    """A dark picture of unlike pixels, and a bright one that is 100 above it everywhere."""
    dark = np.arange(height * width * 3, dtype=np.int64).reshape(height, width, 3) % 101
    return {'img': dark.astype(np.uint8), 'gt': (dark + 100).astype(np.uint8)}


def draws(transform: object, number: int, results: dict | None = None) -> list[dict]:
    np.random.seed(0)
    return [transform(copy.deepcopy(results or pair())) for _ in range(number)]


def in_step(results: dict) -> bool:
    return np.array_equal(results['img'].astype(int) + 100, results['gt'])


def colours(height: int = 5, width: int = 8) -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (height, width, 3), dtype=np.uint8)


def test_pictures_are_read_as_bgr(tmp_path: Path):
    rgb = colours()
    for name in ('a.png', 'a.bmp', 'a.tif', 'a.webp'):
        Image.fromarray(rgb).save(tmp_path / name, lossless=True)
        assert np.array_equal(read_bgr(tmp_path / name), rgb[..., ::-1])
    Image.fromarray(np.dstack([rgb, rgb[..., :1]])).save(tmp_path / 'alpha.png')
    assert np.array_equal(read_bgr(tmp_path / 'alpha.png'), rgb[..., ::-1])


def test_gray_pictures_get_three_channels(tmp_path: Path):
    gray = colours()[..., 0]
    Image.fromarray(gray).save(tmp_path / 'gray.png')
    assert np.array_equal(read_bgr(tmp_path / 'gray.png'), np.dstack([gray] * 3))


@pytest.mark.parametrize('suffix', ['png', 'tiff'])
@pytest.mark.parametrize('channels', [1, 3])
def test_16_bits_are_rounded_to_8(tmp_path: Path, suffix: str, channels: int):
    deep = np.random.default_rng(1).integers(0, 65536, (6, 4, channels), dtype=np.uint16)
    deep[0, 0], deep[0, 1] = 65535, 128
    cv2.imwrite(str(tmp_path / f'deep.{suffix}'), deep)
    read = read_bgr(tmp_path / f'deep.{suffix}')
    assert read.dtype == np.uint8 and read.shape == (6, 4, 3)
    assert np.array_equal(read, np.broadcast_to(np.rint(deep / 257), read.shape))


@pytest.mark.parametrize('orientation', range(1, 9))
def test_both_sides_are_turned_upright(tmp_path: Path, orientation: int):
    picture = np.kron(colours(4, 6), np.ones((8, 8, 1), np.uint8))
    exif = Image.Exif()
    exif[0x0112] = orientation
    for side in ('low', 'high'):
        Image.fromarray(picture).save(tmp_path / f'{side}.jpg', exif=exif, quality=98, subsampling=0)
    results = LoadPair()({'img_path': str(tmp_path / 'low.jpg'), 'gt_path': str(tmp_path / 'high.jpg')})
    turned = {
        1: picture,
        2: picture[:, ::-1],
        3: picture[::-1, ::-1],
        4: picture[::-1],
        5: picture.transpose(1, 0, 2),
        6: np.rot90(picture, -1),
        7: picture[::-1, ::-1].transpose(1, 0, 2),
        8: np.rot90(picture),
    }[orientation]
    assert results['ori_shape'] == turned.shape[:2]
    for key in ('img', 'gt'):
        assert np.abs(results[key].astype(int) - turned[..., ::-1]).mean() < 5


@pytest.mark.parametrize('content', [b'', b'no picture', b'\x89PNG\r\n\x1a\n' + bytes(30)])
def test_files_that_are_no_pictures_are_named(tmp_path: Path, content: bytes):
    path = tmp_path / 'x.png'
    path.write_bytes(content)
    with pytest.raises(SagaError, match=r'x\.png: (cannot be read|is not a picture)'):
        LoadPair()({'img_path': str(path)})
    with pytest.raises(SagaError, match=r'absent\.png: cannot be read as a picture \(No such file'):
        read_bgr(tmp_path / 'absent.png')


def test_floating_point_pictures_are_refused(tmp_path: Path):
    cv2.imwrite(str(tmp_path / 'x.tiff'), np.ones((4, 4, 3), np.float32))
    with pytest.raises(SagaError, match=r'x\.tiff: has values of type float32\. Save it with 8 or 16 bits'):
        read_bgr(tmp_path / 'x.tiff')


def test_sizes_of_a_pair_must_agree(tmp_path: Path):
    Image.fromarray(colours(5, 8)).save(tmp_path / 'a.png')
    Image.fromarray(colours(5, 9)).save(tmp_path / 'b.png')
    with pytest.raises(SagaError, match=r'differ in size: .*a\.png \(8 x 5\) and .*b\.png \(9 x 5\)'):
        LoadPair()({'img_path': str(tmp_path / 'a.png'), 'gt_path': str(tmp_path / 'b.png')})


def test_crops_are_the_same_window_of_both_and_come_from_everywhere():
    cut = draws(PairRandomCrop((4, 3)), 300)
    whole = pair()['img']
    windows = {whole[t : t + 4, x : x + 3].tobytes() for t in range(4) for x in range(7)}
    assert all(one['img'].shape == (4, 3, 3) and in_step(one) for one in cut)
    assert {one['img'].tobytes() for one in cut} == windows


def test_the_crop_size_can_be_set_anew():
    crop = PairRandomCrop(3)
    assert draws(crop, 1)[0]['img'].shape == (3, 3, 3)
    crop.crop_size = 5
    assert draws(crop, 1)[0]['gt'].shape == (5, 5, 3)
    crop.crop_size = [2, 4]
    assert draws(crop, 1)[0]['gt'].shape == (2, 4, 3)


@pytest.mark.parametrize('shape', [(7, 9), (1, 1), (20, 3)])
def test_small_pictures_are_mirrored(shape: tuple[int, int]):
    (cut,) = draws(PairRandomCrop(16), 1, pair(*shape))
    assert cut['img'].shape == (16, 16, 3) and in_step(cut)
    if shape == (7, 9):
        assert np.array_equal(cut['img'], np.pad(pair()['img'], ((0, 9), (0, 7), (0, 0)), 'reflect'))


@pytest.mark.parametrize('size', [0, -3, 2.5, (4,), (4, 0), 'big', None])
def test_bad_crop_sizes_are_refused(size: object):
    with pytest.raises(SagaError, match='crop_size must be one or two whole numbers'):
        PairRandomCrop(size)(pair())


def test_all_eight_ways_to_lay_a_square_occur():
    found = draws(PairRandomFlip(), 200, pair(5, 5))
    image = pair(5, 5)['img']
    ways = {np.rot90(side, turn).tobytes() for side in (image, image[:, ::-1]) for turn in range(4)}
    assert all(in_step(one) for one in found)
    assert {one['img'].tobytes() for one in found} == ways


def test_flips_that_are_off_do_not_occur_and_others_keep_the_shape():
    image = pair()['img']
    (same,) = draws(PairRandomFlip(0, 0, 1), 1)
    assert np.array_equal(same['img'], image)
    (mirrored,) = draws(PairRandomFlip(1, 0, 0), 1)
    assert np.array_equal(mirrored['img'], image[:, ::-1]) and in_step(mirrored)
    (turned,) = draws(PairRandomFlip(0, 1, 1), 1)
    assert np.array_equal(turned['img'], image[::-1])
    assert all(one['img'].shape == (7, 9, 3) for one in draws(PairRandomFlip(), 20))


def test_jitter_changes_the_dark_side_alone_and_keeps_the_order_of_values():
    for one in draws(PairExposureJitter(exposure=(-2, 2), gamma=(0.5, 2), prob=1), 20):
        assert np.array_equal(one['gt'], pair()['gt'])
        values = dict(sorted(zip(pair()['img'].ravel().tolist(), one['img'].ravel().tolist())))
        assert list(values.values()) == sorted(values.values()) and values[0] == 0
    assert all(in_step(one) for one in draws(PairExposureJitter(prob=0), 5))
    shares = [in_step(one) for one in draws(PairExposureJitter((1, 1), prob=0.5), 200)]
    assert 70 < sum(shares) < 130


def test_jitter_is_exposure_in_linear_light_and_then_gamma():
    image = np.full((1, 1, 3), 118, np.uint8)
    # 118 is 18.1 % of the light of white: one stop more is 36.3 %, which is 162
    (one,) = draws(PairExposureJitter((1, 1), (1, 1), prob=1), 1, {'img': image})
    assert (one['img'] == 162).all()
    (two,) = draws(PairExposureJitter((0, 0), (2, 2), prob=1), 1, {'img': image})
    assert (two['img'] == round(255 * (118 / 255) ** 2)).all()
    (white,) = draws(PairExposureJitter((9, 9), (1, 1), prob=1), 1, {'img': image})
    assert (white['img'] == 255).all()


@pytest.mark.parametrize(
    ('make', 'message'),
    [
        (lambda: PairRandomFlip(horizontal=2), 'PairRandomFlip: horizontal'),
        (lambda: PairExposureJitter(exposure=(1, 0)), 'exposure must be two numbers .* the lower first'),
        (lambda: PairExposureJitter(exposure=0.5), 'exposure must be two numbers'),
        (lambda: PairExposureJitter(gamma=(0, 1)), 'gamma'),
        (lambda: PairExposureJitter(prob=-1), 'prob'),
    ],
)
def test_bad_options_are_refused(make: object, message: str):
    with pytest.raises(SagaError, match=message):
        make()


def test_random_transforms_follow_numpys_seed():
    chain = Compose(
        [
            {'type': 'saga_mm.PairRandomCrop', 'crop_size': 4},
            {'type': 'saga_mm.PairRandomFlip'},
            {'type': 'saga_mm.PairExposureJitter'},
        ]
    )
    first, again = draws(chain, 10), draws(chain, 10)
    assert all(np.array_equal(a['img'], b['img']) for a, b in zip(first, again))
    assert len({one['img'].tobytes() for one in first}) > 5


def test_packing():
    results = {**pair(), 'img_path': 'a.png', 'gt_path': 'b.png', 'ori_shape': (70, 90), 'sample_idx': 3}
    results['img'] = results['img'][:, ::-1]
    packed = PackLowLightInputs()(results)
    assert packed['inputs'].dtype == torch.uint8 and packed['inputs'].shape == (3, 7, 9)
    assert np.array_equal(packed['inputs'].permute(1, 2, 0), results['img'])
    sample = packed['data_samples']
    assert np.array_equal(sample.gt_img.permute(1, 2, 0), results['gt'])
    assert sample.metainfo == {'img_path': 'a.png', 'gt_path': 'b.png', 'ori_shape': (70, 90)}
    del results['gt'], results['gt_path']
    assert PackLowLightInputs()(results)['data_samples'].keys() == []


def write_light(folder: Path, light: np.ndarray | None = None, **arrays: np.ndarray) -> dict:
    picture = colours(24, 30)
    cv2.imwrite(str(folder / 'a.png'), picture)
    if light is not None or arrays:
        np.savez(folder / 'a.npz', **arrays or {'linear': light})
    return {'gt_path': str(folder / 'a.png')}


def test_linear_light_beside_a_picture_is_read_and_cut_with_it(tmp_path: Path):
    light = np.random.default_rng(0).random((24, 30, 3)).astype(np.float16)
    results = write_light(tmp_path, light)
    assert 'light' not in LoadPair()(dict(results))
    found = LoadPair(light=True)(dict(results))
    assert found['light'].dtype == np.float32 and np.array_equal(found['light'][..., ::-1], light)
    crops = draws(PairRandomCrop(8), 5, {'gt': colours(24, 30), 'light': colours(24, 30).astype(np.float32)})
    assert all(np.array_equal(crop['gt'], crop['light']) for crop in crops)


def test_pictures_without_linear_light_are_as_before(tmp_path: Path):
    assert 'light' not in LoadPair(light=True)(write_light(tmp_path))


@pytest.mark.parametrize(
    'arrays',
    [
        {'other': np.zeros((24, 30, 3), np.float16)},
        {'linear': np.zeros((24, 31, 3), np.float16)},
        {'linear': np.zeros((24, 30, 3), np.uint8)},
        {'linear': np.full((24, 30, 3), np.nan, np.float16)},
        {'linear': np.array([None])},
    ],
)
def test_bad_linear_light_is_refused_by_its_file(tmp_path: Path, arrays: dict):
    results = write_light(tmp_path, **arrays)
    with pytest.raises(SagaError, match=r'a\.npz'):
        LoadPair(light=True)(results)


def test_damaged_linear_light_is_refused_by_its_file(tmp_path: Path):
    results = write_light(tmp_path)
    (tmp_path / 'a.npz').write_bytes(b'PK\x03\x04 and no more')
    with pytest.raises(SagaError, match=r'a\.npz: is no \.npz file'):
        LoadPair(light=True)(results)


def test_a_picture_of_linear_light_keeps_its_windows(tmp_path: Path):
    light = np.full((24, 30, 3), 0.1, np.float16)
    light[:12] = np.linspace(1, 4, 30)[:, None]
    results = LoadPair(light=True)(write_light(tmp_path, light))
    transform = SynthesizeLowLight(seed=0, exposure=(2, 2), contrast=(0, 0), electrons=(1e6, 1e6))
    found = transform(results)
    window = found['gt'][6, :, 1].astype(int)
    assert 'light' not in found and (np.diff(window) >= 0).all() and window[0] < 235
    # four times white, two stops less
    assert found['img'][6, -1].min() > 220 and found['img'][20].mean() < 60
