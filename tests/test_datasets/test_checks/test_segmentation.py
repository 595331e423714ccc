import shutil
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import pytest
from PIL import Image

from saga_mm.datasets.checks.segmentation import check_segmentation, check_segmentation_cfg, survey_segmentation
from saga_mm.datasets.checks.survey import Survey
from saga_mm.errors import SagaError

CLASSES = ('road', 'tree', 'sky')
COLOURS = [(0, 0, 0), (0, 255, 0), (0, 0, 255)]
HEIGHT, WIDTH = 12, 20


class Data:
    """A data set to spoil: three images of 20 x 12 pixels, and masks with a block of each class and one of 255."""

    def __init__(self, root: Path) -> None:
        self.images, self.masks = root / 'images', root / 'masks'
        self.images.mkdir()
        self.masks.mkdir()
        self.ids = np.repeat(np.array([0, 1, 2, 255], np.uint8), WIDTH // 4)[None].repeat(HEIGHT, 0)
        self.picture = np.random.default_rng(0).integers(0, 255, (HEIGHT, WIDTH, 3), np.uint8)
        for name in 'abc':
            self.put_image(name, self.picture)
            self.put_mask(name, self.ids)

    def put_image(self, name: str, picture: np.ndarray | Image.Image, **kwargs: object) -> Path:
        path = self.images / f'{name}.jpg'
        as_image(picture).save(path, **kwargs)
        return path

    def put_mask(self, name: str, ids: np.ndarray | Image.Image, **kwargs: object) -> Path:
        path = self.masks / f'{name}.png'
        as_image(ids).save(path, **kwargs)
        return path

    def check(self, **kwargs: object) -> Survey:
        return check_segmentation(self.images, self.masks, CLASSES, **kwargs)

    def refuse(self, message: str, **kwargs: object) -> str:
        with pytest.raises(SagaError, match=message) as caught:
            self.check(**kwargs)
        assert str(self.images) in str(caught.value)
        return str(caught.value)

    def warn(self, message: str, **kwargs: object) -> None:
        assert message in '\n'.join(self.check(**kwargs).warnings.lines())

    def cfg(self, **changes: object) -> dict:
        return {
            'type': 'BaseSegDataset',
            'data_root': str(self.images.parent),
            'data_prefix': {'img_path': 'images', 'seg_map_path': 'masks'},
            'metainfo': {'classes': CLASSES, 'palette': COLOURS},
            'pipeline': [{'type': 'LoadImageFromFile'}, {'type': 'LoadAnnotations'}],
            **changes,
        }

    def check_cfg(self, **changes: object) -> Survey | None:
        return check_segmentation_cfg(self.cfg(**changes))


def as_image(values: np.ndarray | Image.Image) -> Image.Image:
    return values if isinstance(values, Image.Image) else Image.fromarray(values)


def cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[: -path.stat().st_size // 3])


@pytest.fixture
def data(tmp_path: Path) -> Data:
    return Data(tmp_path)


def test_what_there_is_is_counted(data: Data):
    data.put_mask('b', np.zeros_like(data.ids))
    survey = data.check()
    block = HEIGHT * WIDTH // 4
    assert survey.per_class == {'road': 2 * block + 4 * block, 'tree': 2 * block, 'sky': 2 * block}
    assert survey.images_per_class == {'road': 3, 'tree': 2, 'sky': 2}
    assert survey.rest == {'not learned': 2 * block} and survey.total == 3 * HEIGHT * WIDTH
    assert survey.size_range() == ((WIDTH, HEIGHT),) * 3
    assert not survey.warnings and not survey.problems
    assert '3 images of 20 x 12 pixels, 3 classes, from 17 % (tree) to 50 % (road) of the pixels.' in str(survey)


def test_what_is_shown_is_what_is_learned(data: Data):
    data.put_mask('a', np.where(data.ids == 2, 7, data.ids).astype(np.uint8))
    survey = survey_segmentation(data.cfg())
    sample = survey.load(survey.samples[0], 10)
    assert sample.name == 'a.jpg' and sample.image.shape == (6, 10, 3) and sample.ids.shape == (6, 10)
    # 3, the number of classes, stands for an id that is none; -1 for what is not learned
    assert [np.unique(sample.ids[:, x]).tolist() for x in (0, 4, 6, 9)] == [[0], [1], [3], [-1]]
    assert survey.load(survey.samples[1], 99).ids.shape == (HEIGHT, WIDTH)


def test_ids_that_are_no_class(data: Data):
    data.put_mask('a', np.where(data.ids == 2, 3, data.ids).astype(np.uint8))
    data.put_mask('c', np.where(data.ids == 2, 254, data.ids + 7 * (data.ids == 1)).astype(np.uint8))
    text = data.refuse(r'ids beyond the 3 classes \(2 times\): a\.jpg \(3\), c\.jpg \(8, 254\)')
    assert 'Ids run from 0 to 2; 255 means not learned' in text
    assert '0 to 2; 3 means' in data.refuse(r'b\.jpg \(255\), c\.jpg \(8, 254, 255\)', ignore_index=3)


def test_zero_means_not_learned_on_demand(data: Data):
    for name in 'abc':
        data.put_mask(name, np.where(data.ids == 255, 255, data.ids + 1).astype(np.uint8))
    data.refuse('ids beyond the 3 classes')
    assert data.check(reduce_zero_label=True).per_class == dict.fromkeys(CLASSES, 3 * HEIGHT * WIDTH // 4)
    data.put_mask('a', np.full_like(data.ids, 4))
    assert 'Ids run from 1 to 3; 0 and 255 means not learned' in data.refuse(r'a\.jpg \(4\)', reduce_zero_label=True)


def test_a_subset_of_the_classes_of_a_public_data_set(data: Data):
    cfg = {'type': 'CityscapesDataset', 'img_suffix': '.jpg', 'seg_map_suffix': '.png'}
    survey = data.check_cfg(**cfg, metainfo={'classes': ('building', 'road')})
    third = 3 * HEIGHT * WIDTH // 4
    assert survey.per_class == {'building': third, 'road': third}
    assert survey.rest == {'not learned': 2 * third}
    assert len(data.check_cfg(**cfg, metainfo={}).per_class) == 19


def test_masks_that_are_not_there(data: Data):
    (data.masks / 'b.png').unlink()
    data.refuse(r'image without a mask in .*masks: b\.jpg \(should be b\.png\)\. Add the masks')
    (data.masks / 'b_mask.png').write_bytes((data.masks / 'a.png').read_bytes())
    data.refuse(r"For b\.jpg there is b_mask\.png: set seg_map_suffix='_mask\.png'")


def test_a_wrong_mask_folder(data: Data, tmp_path: Path):
    data.masks = tmp_path / 'empty'
    data.refuse('mask folder .*empty does not exist')
    data.masks.mkdir()
    data.refuse(r'image without a mask .* \(3 times\).*The folder has no files')
    (data.masks / 'other.bmp').touch()
    data.refuse(r"The folder has 1 of '\.bmp'")


def test_suffixes_that_do_not_fit(data: Data):
    (data.images / 'd.png').touch()
    data.refuse(r"no image that ends in img_suffix='\.tif'\. It has 3 of '\.jpg', 1 of '\.png'", img_suffix='.tif')
    data.warn(r"img_suffix='.jpg' leaves out: 1 of '.png'")
    (data.images / 'd.png').unlink()
    (data.masks / 'd.png').write_bytes((data.masks / 'a.png').read_bytes())
    data.warn('mask without an image')
    for path in data.images.iterdir():
        path.unlink()
    data.refuse('has no image .* It is empty')


def test_images_and_masks_in_one_folder(data: Data):
    inner = data.masks.rename(data.images / 'masks')
    data.masks = inner
    data.put_mask('d', data.ids)
    assert [line.partition(' ')[0] for line in data.check().warnings.lines()] == ['mask']
    (inner / 'd.png').unlink()
    for path in inner.iterdir():
        path.rename(data.images / path.name)
    data.masks = data.images
    assert not data.check().warnings


def test_folders_in_folders(data: Data):
    for folder in (data.images, data.masks):
        (folder / 'day').mkdir()
        for path in list(folder.glob('a.*')):
            path.rename(folder / 'day' / path.name)
    assert data.check().num_images == 3
    data.put_mask('day/a', np.full_like(data.ids, 9))
    data.refuse(r'classes: day/a\.jpg \(9\)')


@pytest.mark.parametrize('shape', [(HEIGHT, WIDTH - 1), (WIDTH, HEIGHT)])
def test_a_mask_of_another_size(data: Data, shape: tuple[int, int]):
    data.put_mask('a', np.zeros(shape, np.uint8))
    data.refuse(rf'another size than its image: a\.jpg \({shape[1]} x {shape[0]}, its image 20 x 12\)')


def test_a_picture_turned_by_exif_needs_a_turned_mask(data: Data):
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


def test_palette_masks_are_read_as_indices(data: Data):
    palette = Image.new('P', (WIDTH, HEIGHT))
    palette.putdata(data.ids.ravel().tolist())
    palette.putpalette([200, 0, 0, 0, 200, 0, 0, 0, 200] + 247 * [9, 9, 9])
    plain = data.check().per_class
    for name in 'abc':
        data.put_mask(name, palette)
    assert data.check().per_class == plain
    with pytest.raises(SagaError, match=r"palette mask of which imdecode_backend='cv2' reads colours \(3 times\)"):
        data.check_cfg(pipeline=[{'type': 'LoadAnnotations', 'imdecode_backend': 'cv2'}])


def test_greys_that_a_program_numbered_anew(data: Data):
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


def test_thumbnails_of_another_program_are_no_images(data: Data):
    for folder in (data.images, data.masks):
        (folder / '@eaDir').mkdir()
        for path in list(folder.glob('a.*')):
            shutil.copy(path, folder / '@eaDir' / path.name)
    data.refuse(r'image in a folder of copies or thumbnails: @eaDir/a\.jpg\. Remove such folders')


def test_what_is_no_mask_at_all(data: Data):
    np.save(data.masks / 'a.npy', data.ids)
    (data.masks / 'a.npy').rename(data.masks / 'a.png')
    data.refuse(r'unreadable mask: a\.jpg \(is no picture\)\. .* Save class ids as an 8-bit PNG')


@pytest.mark.parametrize('mode', ['RGB', 'RGBA', 'LA', 'CMYK'])
def test_colour_masks(data: Data, mode: str):
    path = data.masks / 'a.png'
    Image.fromarray(data.ids).convert(mode).save(path, format='TIFF' if mode == 'CMYK' else 'PNG')
    data.refuse(rf'colour mask where class ids are needed: a\.jpg \({mode}, its colours are grey.*\. Save class ids')


def test_deep_masks_must_fit_into_8_bits(data: Data):
    data.put_mask('a', data.ids.astype(np.uint16))
    data.warn('mask of more than 8 bits: a.jpg')
    # 256 would be read as 0
    data.put_mask('a', 256 * (data.ids == 1).astype(np.uint16))
    data.refuse(r'values that 8 bits do not hold: a\.jpg \(I;16, 0 to 256\)')
    data.put_mask('a', data.ids - np.int32(1), format='TIFF')
    data.refuse(r'8 bits do not hold: a\.jpg \(I, -1 to 254\)')
    data.put_mask('a', data.ids + np.float32(0.5), format='TIFF')
    data.refuse('8 bits do not hold')


def test_masks_in_black_and_white(data: Data):
    for name in 'abc':
        data.put_mask(name, np.zeros_like(data.ids))
    data.refuse("masks of nothing but 'road'. Ids run from 0 to 2; 255 means not learned")
    for name in 'abc':
        data.put_mask(name, Image.fromarray(data.ids > 0))
    data.warn("class that never occurs: 'sky'")
    assert data.check().per_class['tree'] == 3 * HEIGHT * WIDTH * 3 // 4


def test_masks_of_nothing(data: Data):
    for name in 'abc':
        data.put_mask(name, np.full_like(data.ids, 255))
    data.refuse('masks without a pixel to learn from')


def test_jpeg_masks_are_doubted(data: Data):
    data.put_mask('a', np.full_like(data.ids, 1), format='JPEG')
    data.warn('mask stored as JPEG: a.jpg')


@pytest.mark.parametrize('decode', [True, False])
@pytest.mark.parametrize('spoil', [cut, lambda path: path.write_bytes(b''), lambda path: path.write_text('<html>')])
def test_damaged_files_are_named_and_the_rest_is_checked(data: Data, spoil: Callable[[Path], object], decode: bool):
    spoil(data.images / 'a.jpg')
    spoil(data.masks / 'b.png')
    survey = survey_segmentation(data.cfg(), decode=decode)
    problems = sorted(line.partition(' (')[0] for line in survey.problems.lines())
    assert problems == ['unreadable image: a.jpg', 'unreadable mask: b.jpg']
    assert [pair.name for pair in survey.samples] == ['c.jpg'] and survey.total == HEIGHT * WIDTH
    data.refuse(r'unreadable image: a\.jpg', decode=decode)


def test_every_kind_of_problem_is_in_one_message(data: Data):
    data.put_mask('a', np.full_like(data.ids, 9))
    data.put_mask('b', np.zeros((3, 3), np.uint8))
    (data.masks / 'c.png').unlink()
    text = data.refuse('ids beyond')
    assert text.count('\n- ') == 3 and 'another size' in text and 'without a mask' in text


@pytest.mark.parametrize('shape', [(1, 1), (1, 20), (20, 1)])
def test_a_side_of_one_pixel(data: Data, shape: tuple[int, int]):
    data.put_image('a', np.zeros((*shape, 3), np.uint8))
    data.put_mask('a', np.zeros(shape, np.uint8))
    data.refuse(r'image with a side of one pixel: a\.jpg')


def test_extreme_proportions(data: Data):
    data.put_image('a', np.zeros((4, 41, 3), np.uint8))
    data.put_mask('a', np.zeros((4, 41), np.uint8))
    data.warn('image more than 10 times as long as wide: a.jpg (41 x 4)')


def png(picture: np.ndarray) -> Callable[[Path], None]:
    return lambda path: path.write_bytes(cv2.imencode('.png', picture)[1].tobytes())


GREY = np.full((HEIGHT, WIDTH), 9, np.uint8)
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
def test_how_unusual_images_will_be_read(data: Data, kind: str):
    write, expected = KINDS[kind]
    write(data.images / 'a.jpg')
    survey = data.check()
    assert sorted(line.partition(':')[0] for line in survey.warnings.lines()) == sorted(expected)
    assert survey.load(survey.samples[0], 99).image.shape == (HEIGHT, WIDTH, 3)
    raw = [{'type': 'LoadImageFromFile', 'color_type': 'unchanged'}, {'type': 'LoadAnnotations'}]
    assert not data.check_cfg(pipeline=raw).warnings


def test_a_list_of_images(data: Data, tmp_path: Path):
    listed = tmp_path / 'list.txt'
    listed.write_text('c\na\n')
    survey = data.check_cfg(ann_file='list.txt')
    assert survey.num_images == 2 and not survey.warnings
    listed.write_text('../images/a\n../../x\n')
    with pytest.raises(SagaError, match=r"list\.txt: '\.\./\.\./x\.jpg' leaves the image folder"):
        data.check_cfg(ann_file='list.txt')
    listed.write_text('')
    with pytest.raises(SagaError, match='is empty'):
        data.check_cfg(ann_file='list.txt')
    listed.write_text('a\nnone\n')
    with pytest.raises(SagaError, match=r'unreadable image: none\.jpg'):
        data.check_cfg(ann_file='list.txt')
    with pytest.raises(SagaError, match=r'nothing\.txt.* does not exist'):
        data.check_cfg(ann_file='nothing.txt')


def test_images_without_masks(data: Data):
    (data.masks / 'a.png').unlink()
    survey = data.check_cfg(pipeline=[{'type': 'LoadImageFromFile'}])
    assert survey.total == 0 and len(survey.samples) == 3
    assert (survey.load(survey.samples[0], 99).ids == -1).all()
    assert check_segmentation(data.images, None, CLASSES).total == 0


@pytest.mark.parametrize(
    ('changes', 'message'),
    [
        ({'data_root': 'nowhere'}, 'Data root nowhere does not exist'),
        ({'data_prefix': {'img_path': 'none', 'seg_map_path': 'masks'}}, 'Image folder .*none does not exist'),
        ({'data_prefix': {'img_path': 'images'}}, 'data_prefix has no seg_map_path'),
        ({'data_prefix': {'img_path': 5}}, 'prefix should be a string'),
        ({'metainfo': {}}, r'BaseSegDataset: has no classes\. Set metainfo'),
        ({'metainfo': {'classes': ('road', 'road')}}, "names the class 'road' twice"),
        ({'metainfo': {'classes': 'road'}}, r"is the string 'road'\. Write a tuple: \('road',\)"),
        ({'metainfo': {'classes': CLASSES, 'palette': COLOURS[:2]}}, 'palette does not match classes'),
        ({'type': 'CityscapesDataset', 'metainfo': {'classes': ('lawn',)}}, 'is not a subset of classes'),
        ({'img_sufix': '.png'}, "unexpected keyword argument 'img_sufix'"),
        (
            {'type': 'PascalVOCDataset', 'ann_file': 'no.txt', 'metainfo': {}},
            'PascalVOCDataset .*a file or folder',
        ),
    ],
)
def test_configs_that_make_no_data_set(data: Data, changes: dict, message: str):
    with pytest.raises(SagaError, match=message):
        data.check_cfg(**changes)


@pytest.mark.parametrize(
    'changes', [{'type': 'NotRegistered'}, {'type': 'BaseCDDataset'}, {'backend_args': {'backend': 'petrel'}}]
)
def test_data_that_it_does_not_know_is_left_alone(data: Data, changes: dict):
    assert data.check_cfg(**changes) is None


@pytest.mark.parametrize(('value', 'words'), [(255, 'is not learned'), (128, 'is no class'), (254, 'is no class')])
def test_masks_of_two_values_stop_a_training(data: Data, value: int, words: str):
    for name in 'abc':
        data.put_mask(name, (data.ids == 1).astype(np.uint8) * value)
    data.refuse(rf'all 3 masks hold 0 and {value} alone, and {value} {words}\. Save the object as 1')
    with pytest.raises(SagaError, match=f'hold 0 and {value} alone'):
        data.check_cfg(test_mode=True)


def test_masks_of_0_and_255_among_others_are_counted(data: Data):
    data.put_mask('a', (data.ids == 1).astype(np.uint8) * 255)
    for name in 'bc':
        data.put_mask(name, np.where(data.ids == 255, 0, data.ids))
    data.warn('1 of 3 masks hold 0 and 255 alone, and the others classes. 255 is not learned')
    # where 255 is the border of objects in other masks, it is so in these
    for name in 'bc':
        data.put_mask(name, data.ids)
    assert not data.check().warnings


def test_ids_that_are_one_off(data: Data):
    for name in 'abc':
        data.put_mask(name, np.where(data.ids == 255, 255, data.ids + 1).astype(np.uint8))
    data.refuse(r'ids run from 1 to 3, and 3 classes are numbered from 0; are they one off\? Subtract 1')


def test_grey_masks_stored_as_colours_are_told_apart(data: Data):
    ids = np.where(data.ids == 255, 0, data.ids)
    data.put_mask('a', np.repeat(ids[..., None], 3, 2))
    data.refuse('colour mask .*RGB, its colours are grey: its first channel may hold the ids')
    data.put_mask('a', Image.fromarray(ids).convert('LA'))
    data.refuse('colour mask .*LA, its colours are grey')


@pytest.mark.parametrize('place', ['mask', 'image'])
def test_png_files_whose_bytes_were_changed(data: Data, place: str):
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
