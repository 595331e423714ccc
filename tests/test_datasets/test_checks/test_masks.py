"""Mask files: which hold class ids, and how they are read."""

from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import pytest
from PIL import Image

from saga_mm.errors import SagaError

# of the images
HEIGHT, WIDTH = 12, 20


def png(picture: np.ndarray) -> Callable[[Path], None]:
    return lambda path: path.write_bytes(cv2.imencode('.png', picture)[1].tobytes())


def test_palette_masks_are_read_as_indices(data):
    palette = Image.new('P', (WIDTH, HEIGHT))
    palette.putdata(data.ids.ravel().tolist())
    palette.putpalette([200, 0, 0, 0, 200, 0, 0, 0, 200] + 247 * [9, 9, 9])
    plain = data.check().per_class
    for name in 'abc':
        data.put_mask(name, palette)
    assert data.check().per_class == plain
    with pytest.raises(SagaError, match=r"palette mask of which imdecode_backend='cv2' reads colours \(3 times\)"):
        data.check_cfg(pipeline=[{'type': 'LoadAnnotations', 'imdecode_backend': 'cv2'}])


def test_greys_that_a_program_numbered_anew(data):
    """As Pillow saves a grey mask as GIF: it keeps the greys that occur."""
    moved = Image.new('P', (WIDTH, HEIGHT))
    moved.putpalette([0, 0, 0, 2, 2, 2, 255, 255, 255])
    moved.putdata(np.searchsorted([0, 2, 255], np.where(data.ids == 1, 0, data.ids)).ravel().tolist())
    data.put_mask('a', moved)
    data.refuse(r'indices are not the greys that it shows: a\.jpg \(1 shows 2, 2 shows 255\)')
    # greys to be looked at
    moved.putpalette([0, 0, 0, 120, 120, 120, 255, 255, 255])
    data.put_mask('a', moved)
    data.check()


def test_what_is_no_mask_at_all(data):
    np.save(data.masks / 'a.npy', data.ids)
    (data.masks / 'a.npy').rename(data.masks / 'a.png')
    data.refuse(r'unreadable mask: a\.jpg \(is no picture\)\. .* Save class ids as an 8-bit PNG')


@pytest.mark.parametrize('mode', ['RGB', 'RGBA', 'LA', 'CMYK'])
def test_colour_masks(data, mode: str):
    path = data.masks / 'a.png'
    Image.fromarray(data.ids).convert(mode).save(path, format='TIFF' if mode == 'CMYK' else 'PNG')
    data.refuse(rf'colour mask where class ids are needed: a\.jpg \({mode}, its colours are grey.*\. Save class ids')


def test_grey_masks_stored_as_colours_are_told_apart(data):
    ids = np.where(data.ids == 255, 0, data.ids)
    data.put_mask('a', np.repeat(ids[..., None], 3, 2))
    data.refuse('colour mask .*RGB, its colours are grey: its first channel may hold the ids')
    data.put_mask('a', Image.fromarray(ids).convert('LA'))
    data.refuse('colour mask .*LA, its colours are grey')


def test_deep_masks_must_fit_into_8_bits(data):
    data.put_mask('a', data.ids.astype(np.uint16))
    data.warn('mask of more than 8 bits: a.jpg')
    # 256 would be read as 0
    data.put_mask('a', 256 * (data.ids == 1).astype(np.uint16))
    data.refuse(r'values that 8 bits do not hold: a\.jpg \(I;16, 0 to 256\)')
    data.put_mask('a', data.ids - np.int32(1), format='TIFF')
    data.refuse(r'8 bits do not hold: a\.jpg \(I, -1 to 254\)')
    data.put_mask('a', data.ids + np.float32(0.5), format='TIFF')
    data.refuse('8 bits do not hold')


def test_jpeg_masks_are_doubted(data):
    data.put_mask('a', np.full_like(data.ids, 1), format='JPEG')
    data.warn('mask stored as JPEG: a.jpg')
