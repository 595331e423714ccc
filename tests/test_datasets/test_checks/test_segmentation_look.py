"""One image and its mask."""

from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import pytest
from PIL import Image

from saga_mm.datasets.checks.segmentation import survey_segmentation

# of the images
HEIGHT, WIDTH = 12, 20


def cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[: -path.stat().st_size // 3])


def png(picture: np.ndarray) -> Callable[[Path], None]:
    return lambda path: path.write_bytes(cv2.imencode('.png', picture)[1].tobytes())


GREY = np.full((HEIGHT, WIDTH), 9, np.uint8)


def test_ids_that_are_no_class(data):
    data.put_mask('a', np.where(data.ids == 2, 3, data.ids).astype(np.uint8))
    data.put_mask('c', np.where(data.ids == 2, 254, data.ids + 7 * (data.ids == 1)).astype(np.uint8))
    text = data.refuse(r'ids beyond the 3 classes \(2 times\): a\.jpg \(3\), c\.jpg \(8, 254\)')
    assert 'Ids run from 0 to 2; 255 means not learned' in text
    assert '0 to 2; 3 means' in data.refuse(r'b\.jpg \(255\), c\.jpg \(8, 254, 255\)', ignore_index=3)


def test_zero_means_not_learned_on_demand(data):
    for name in 'abc':
        data.put_mask(name, np.where(data.ids == 255, 255, data.ids + 1).astype(np.uint8))
    data.refuse('ids beyond the 3 classes')
    third = 3 * HEIGHT * WIDTH // 4
    assert data.check(reduce_zero_label=True).per_class == {'road': third, 'tree': third, 'sky': third}
    data.put_mask('a', np.full_like(data.ids, 4))
    assert 'Ids run from 1 to 3; 0 and 255 means not learned' in data.refuse(r'a\.jpg \(4\)', reduce_zero_label=True)


@pytest.mark.parametrize('shape', [(HEIGHT, WIDTH - 1), (WIDTH, HEIGHT)])
def test_a_mask_of_another_size(data, shape: tuple[int, int]):
    data.put_mask('a', np.zeros(shape, np.uint8))
    data.refuse(rf'another size than its image: a\.jpg \({shape[1]} x {shape[0]}, its image 20 x 12\)')


def test_a_picture_turned_by_exif_needs_a_turned_mask(data):
    exif = Image.Exif()
    exif[0x0112] = 6
    data.put_image('a', data.picture, exif=exif)
    text = data.refuse(r'turns by 90 degrees.*a\.jpg \(20 x 12 before, 12 x 20 after\)')
    assert 'color_ignore_orientation' in text
    load = {'type': 'LoadImageFromFile', 'color_type': 'color_ignore_orientation'}
    survey = data.check_cfg(pipeline=[load, {'type': 'LoadAnnotations'}])
    assert survey.load(survey.samples[0], 99).image.shape == (HEIGHT, WIDTH, 3)
    data.put_mask('a', data.ids.T)
    survey = data.check()
    assert (12, 20) in survey.sizes and survey.load(survey.samples[0], 99).image.shape == (WIDTH, HEIGHT, 3)
    data.warn('image that its EXIF tag turns or mirrors: a.jpg')


@pytest.mark.parametrize('turn', [3, 6])
def test_a_mask_that_exif_turns_is_read_as_it_is_stored(data, turn: int):
    exif = Image.Exif()
    exif[0x0112] = turn
    data.put_image('a', data.picture, exif=exif)
    Image.fromarray(data.ids).save(data.masks / 'a.png', exif=exif)
    assert 'mogrify -auto-orient' in data.refuse(r'mask that its EXIF tag turns or mirrors: a\.jpg')
    load = {'type': 'LoadImageFromFile', 'color_type': 'color_ignore_orientation'}
    survey = data.check_cfg(pipeline=[load, {'type': 'LoadAnnotations'}])
    assert np.array_equal(survey.load(survey.samples[0], 99).ids, data.ids.astype(np.int8))


@pytest.mark.parametrize('decode', [True, False])
@pytest.mark.parametrize('spoil', [cut, lambda path: path.write_bytes(b''), lambda path: path.write_text('<html>')])
def test_damaged_files_are_named_and_the_rest_is_checked(data, spoil: Callable[[Path], object], decode: bool):
    spoil(data.images / 'a.jpg')
    spoil(data.masks / 'b.png')
    survey = survey_segmentation(data.cfg(), decode=decode)
    problems = sorted(line.partition(' (')[0] for line in survey.problems.lines())
    assert problems == ['unreadable image: a.jpg', 'unreadable mask: b.jpg']
    assert [pair.name for pair in survey.samples] == ['c.jpg'] and survey.total == HEIGHT * WIDTH
    data.refuse(r'unreadable image: a\.jpg', decode=decode)


@pytest.mark.parametrize('place', ['mask', 'image'])
def test_png_files_whose_bytes_were_changed(data, place: str):
    for name in 'abc':
        (data.images / f'{name}.jpg').unlink()
        Image.fromarray(data.picture).save(data.images / f'{name}.png')
    path = (data.masks if place == 'mask' else data.images) / 'a.png'
    data.check(img_suffix='.png')
    content = bytearray(path.read_bytes())
    start = content.index(b'IDAT') + 4
    length = int.from_bytes(content[start - 8 : start - 4], 'big')
    content[start + length] ^= 1
    path.write_bytes(content)
    data.refuse(f'unreadable {place}: a.png .*its IDAT part has another checksum', img_suffix='.png')


@pytest.mark.parametrize('shape', [(1, 1), (1, 20), (20, 1)])
def test_a_side_of_one_pixel(data, shape: tuple[int, int]):
    data.put_image('a', np.zeros((*shape, 3), np.uint8))
    data.put_mask('a', np.zeros(shape, np.uint8))
    data.refuse(r'image with a side of one pixel: a\.jpg')


def test_extreme_proportions(data):
    data.put_image('a', np.zeros((4, 41, 3), np.uint8))
    data.put_mask('a', np.zeros((4, 41), np.uint8))
    data.warn('image more than 10 times as long as wide: a.jpg (41 x 4)')


KINDS = {
    'grey': (lambda path: Image.fromarray(GREY).save(path), ['grayscale image']),
    'grey with alpha': (
        lambda path: Image.fromarray(GREY).convert('LA').save(path, format='PNG'),
        ['grayscale image', 'image with transparency'],
    ),
    'deep grey': (png(GREY.astype(np.uint16) << 8), ['grayscale image', 'image of 16 bits']),
    'deep colour': (png(np.dstack([GREY.astype(np.uint16) << 8] * 3)), ['image of 16 bits']),
    'alpha': (png(np.dstack([GREY] * 4)), ['image with transparency']),
    'cmyk': (lambda path: Image.fromarray(GREY).convert('CMYK').save(path), ['CMYK image']),
    'palette': (lambda path: Image.fromarray(GREY).convert('P').save(path, format='PNG'), []),
}


@pytest.mark.parametrize('kind', KINDS)
def test_how_unusual_images_will_be_read(data, kind: str):
    write, expected = KINDS[kind]
    write(data.images / 'a.jpg')
    survey = data.check()
    assert sorted(line.partition(':')[0] for line in survey.warnings.lines()) == sorted(expected)
    assert survey.load(survey.samples[0], 99).image.shape == (HEIGHT, WIDTH, 3)
    raw = [{'type': 'LoadImageFromFile', 'color_type': 'unchanged'}, {'type': 'LoadAnnotations'}]
    assert not data.check_cfg(pipeline=raw).warnings
