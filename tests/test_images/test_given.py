"""Arrays, PIL images and paths that Python programs give to models."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from saga_mm.errors import SagaError
from saga_mm.images.given import rgb_picture
from saga_mm.images.pictures import read_picture

RGB = np.arange(5 * 7 * 3, dtype=np.uint8).reshape(5, 7, 3) * 2
GREY = RGB[..., 0]
OPACITY = np.full((5, 7, 1), 9, np.uint8)
THREE = GREY[..., None].repeat(3, axis=2)


@pytest.mark.parametrize(
    ('given', 'wanted'),
    {
        'RGB': (RGB, RGB),
        'grey': (GREY, THREE),
        'one channel': (GREY[..., None], THREE),
        'grey and opacity': (np.dstack([GREY, OPACITY]), THREE),
        'RGBA': (np.dstack([RGB, OPACITY]), RGB),
        '16 bits': (RGB.astype(np.uint16) * 256 + 200, RGB),
        '16 bits of other bytes': ((RGB.astype(np.uint16) * 256 + 200).astype('>u2'), RGB),
        'floating point': (RGB / 255, RGB),
        'half precision': ((GREY / 255).astype(np.float16), THREE),
        'not contiguous': (RGB[::-1, ::2], RGB[::-1, ::2]),
        'PIL': (Image.fromarray(RGB), RGB),
        'PIL grey': (Image.fromarray(GREY), THREE),
        'PIL of 16 bits': (Image.fromarray(GREY.astype(np.uint16) * 256 + 200), THREE),
        'PIL with opacity': (Image.fromarray(np.dstack([RGB, OPACITY])), RGB),
    }.values(),
)
def test_kinds(given, wanted):
    found = rgb_picture(given)
    assert found.dtype == np.uint8 and np.array_equal(found, wanted)


def test_files_and_what_is_to_be_turned(tmp_path):
    exif = Image.Exif()
    exif[0x112] = 6
    path = tmp_path / 'turned.png'
    Image.fromarray(RGB).save(path, exif=exif)
    for given in (path, str(path), Image.open(path)):
        assert np.array_equal(rgb_picture(given), np.rot90(RGB, -1))


def test_grey_of_16_bits_in_a_file_as_in_training(tmp_path):
    """OpenCV takes the upper byte: the nearest of 255 levels would be another one for a half of the values."""
    deep = np.array([[0, 200, 256, 4095, 54_000, 65_535]], np.uint16)
    Image.fromarray(deep).save(tmp_path / 'deep.png')
    assert read_picture(tmp_path / 'deep.png')[0, :, 0].tolist() == (deep[0] >> 8).tolist()


@pytest.mark.parametrize(
    ('given', 'said'),
    [
        (np.zeros((3, 40, 50), np.uint8), r'of shape \(3, 40, 50\): must be \(H, W, 3\), or \(H, W\) for gray'),
        (np.zeros((2, 4, 5, 3), np.uint8), r'of shape \(2, 4, 5, 3\)'),
        (np.zeros((0, 5, 3), np.uint8), r'of shape \(0, 5, 3\)'),
        (np.zeros((4, 5, 3), bool), r'of bool: must be uint8, uint16, or floating point in \[0, 1\]'),
        (np.zeros((4, 5, 3), np.int64), r'of int64: must be'),
        (np.full((4, 5, 3), 255.0), r'of float64 from 255 to 255: must be in \[0, 1\]'),
        (np.full((4, 5, 3), np.nan), r'from nan to nan: must be in \[0, 1\]'),
        ([RGB], r'an array \(H, W, 3\) of RGB, a PIL image or a path, not a list'),
        (Path('nothing.png'), r'nothing\.png'),
    ],
)
def test_what_is_no_picture(given, said):
    with pytest.raises(SagaError, match=said):
        rgb_picture(given)
