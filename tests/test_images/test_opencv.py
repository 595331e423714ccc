"""Training reads what prediction reads, where OpenCV reads something else."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from saga_mm.errors import SagaError
from saga_mm.images.headers import shown_size
from saga_mm.images.opencv import is_misread, read_for_training
from saga_mm.images.pictures import image_library, read_picture

ROWS, COLUMNS = np.mgrid[0:23, 0:37]
RGB = np.stack([ROWS * 7 + 20, COLUMNS * 5 + 30, (ROWS + COLUMNS) * 3 + 40], 2).astype(np.uint8)
GREY = (ROWS * 5 + COLUMNS * 3).astype(np.uint8)
CLEAR = (COLUMNS * 6).astype(np.uint8)
TURN = Image.Exif()
TURN[0x0112] = 6


def three(grey: np.ndarray) -> np.ndarray:
    return np.repeat(grey[..., None], 3, axis=2)


def by_library(path: Path, samples: np.ndarray, bits: int = 0) -> None:
    library = image_library()
    spec = library.ImageSpec(samples.shape[1], samples.shape[0], 1, str(samples.dtype))
    if bits:
        spec.attribute('oiio:BitsPerSample', bits)
    file = library.ImageOutput.create(str(path))
    file.open(str(path), spec)
    file.write_image(samples[..., None])
    file.close()


CASES = {
    'clear.tif': (lambda path: Image.fromarray(np.dstack([RGB, CLEAR])).save(path), RGB),
    'clear_grey.tif': (
        lambda path: Image.merge('LA', [Image.fromarray(GREY), Image.fromarray(CLEAR)]).save(path),
        three(GREY),
    ),
    'signed.tif': (lambda path: by_library(path, GREY.astype(np.int16)), three(GREY)),
    'four_bits.tif': (lambda path: by_library(path, GREY // 16 * 17, 4), three(GREY // 16 * 17)),
    'turned.webp': (lambda path: Image.fromarray(RGB).save(path, lossless=True, exif=TURN), np.rot90(RGB, -1)),
    'turned.tif': (lambda path: Image.fromarray(RGB).save(path, tiffinfo={0x0112: 6}), np.rot90(RGB, -1)),
    'deep.tif': (lambda path: by_library(path, GREY.astype(np.uint16) * 257), three(GREY)),
}


@pytest.mark.parametrize('name', CASES)
def test_pixels_are_those_of_predictions(tmp_path, name):
    save, expected = CASES[name]
    save(tmp_path / name)
    assert is_misread(tmp_path / name)
    assert np.array_equal(read_for_training(tmp_path / name)[..., ::-1], expected)
    assert np.array_equal(read_picture(tmp_path / name), expected)
    with Image.open(tmp_path / name) as image:
        assert shown_size(image, str(tmp_path / name)) == expected.shape[1::-1]


@pytest.mark.parametrize('name', CASES)
def test_the_loader_of_the_stack_reads_so(tmp_path, name, monkeypatch):
    mmcv = pytest.importorskip('mmcv.transforms')
    from saga_mm.datasets.picture_loader import use_own_pictures

    monkeypatch.setattr(mmcv.LoadImageFromFile, 'transform', mmcv.LoadImageFromFile.transform)
    use_own_pictures()
    save, expected = CASES[name]
    save(tmp_path / name)
    loaded = mmcv.LoadImageFromFile(to_float32=True)({'img_path': str(tmp_path / name)})
    assert loaded['img'].dtype == np.float32 and np.array_equal(loaded['img'][..., ::-1], expected)
    assert loaded['img_shape'] == loaded['ori_shape'] == expected.shape[:2]
    Image.fromarray(RGB).save(tmp_path / 'plain.png')
    assert np.array_equal(mmcv.LoadImageFromFile()({'img_path': str(tmp_path / 'plain.png')})['img'][..., ::-1], RGB)


def test_what_opencv_reads_well_is_left_to_it(tmp_path):
    Image.fromarray(RGB).save(tmp_path / 'a.png')
    Image.fromarray(RGB).save(tmp_path / 'a.webp', lossless=True)
    assert not any(is_misread(tmp_path / name) for name in ('a.png', 'a.webp', 'none.tif'))
    assert np.array_equal(read_for_training(tmp_path / 'a.webp')[..., ::-1], RGB)
    Image.fromarray(RGB).save(tmp_path / 'turned.webp', lossless=True, exif=TURN)
    assert np.array_equal(read_for_training(tmp_path / 'turned.webp', ignore_orientation=True)[..., ::-1], RGB)
    (tmp_path / 'bad.png').write_bytes(b'nothing')
    with pytest.raises(SagaError, match='cannot be read'):
        read_for_training(tmp_path / 'bad.png')


def test_pairs_are_read_so(tmp_path):
    from saga_mm.datasets.low_light.transforms import read_bgr

    for name in ('clear.tif', 'turned.webp'):
        save, expected = CASES[name]
        save(tmp_path / name)
        assert np.array_equal(read_bgr(tmp_path / name)[..., ::-1], expected)
