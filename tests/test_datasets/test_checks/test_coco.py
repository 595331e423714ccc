import json
import shutil
import struct
import zlib
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from saga_mm.datasets.checks.coco import check_coco, classes_of
from saga_mm.datasets.demo.shapes import make_demo_shapes
from saga_mm.errors import SagaError


@pytest.fixture(scope='module')
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_demo_shapes(tmp_path_factory.mktemp('demo') / 'shapes', 8, 1, 96, progress=False)


class Data:
    """A data set to spoil: ``content`` is written before each check."""

    def __init__(self, root: Path) -> None:
        self.ann_file = root / 'annotations' / 'instances_train.json'
        self.images = root / 'images' / 'train'
        self.content = json.loads(self.ann_file.read_text())

    @property
    def first(self) -> Path:
        return self.images / self.content['images'][0]['file_name']

    def check(self, **kwargs: object) -> str:
        self.ann_file.write_text(json.dumps(self.content))
        return str(check_coco(self.ann_file, self.images, **kwargs))

    def refuse(self, message: str, **kwargs: object) -> str:
        with pytest.raises(SagaError, match=message) as caught:
            self.check(**kwargs)
        assert str(self.ann_file) in str(caught.value)
        return str(caught.value)


@pytest.fixture
def data(made: Path, tmp_path: Path) -> Data:
    return Data(Path(shutil.copytree(made, tmp_path / 'data')))


def test_summary_says_what_there_is(data: Data):
    data.content['images'].append({**data.content['images'][0], 'id': 99})
    data.content['annotations'][0]['iscrowd'] = 1
    data.content['annotations'][1]['bbox'] = [500, 500, 10, 10]
    del data.content['annotations'][2]['segmentation']
    text = data.check()
    number = len(data.content['annotations'])
    assert f'9 images of 96 x 96 pixels, {number} annotations (1 crowds) of 5 classes' in text
    assert '1 images without any' in text
    assert '1 annotations that mmdet drops' in text
    assert '1 annotations without a mask' in text
    assert 'All images decoded' in text
    assert 'Heads and tails' in data.check(decode=False)


def test_classes_are_in_the_order_of_the_file(data: Data):
    data.content['categories'] = data.content['categories'][::-1]
    data.check()
    assert classes_of(data.ann_file) == ['cross', 'star', 'triangle', 'square', 'disc']


def test_files_that_are_not_there(data: Data, tmp_path: Path):
    with pytest.raises(SagaError, match=r'none\.json does not exist.*instances_train\.json'):
        check_coco(data.ann_file.with_name('none.json'), data.images)
    with pytest.raises(SagaError, match=r'nowhere.* does not exist'):
        check_coco(tmp_path / 'nowhere' / 'none.json', data.images)
    with pytest.raises(SagaError, match=r'Image folder .*nowhere .*does not exist'):
        check_coco(data.ann_file, tmp_path / 'nowhere')
    with pytest.raises(SagaError, match='does not exist'):
        classes_of(tmp_path)


@pytest.mark.parametrize(
    ('text', 'message'),
    [
        ('{"images": [\n  {"id": 1,}\n]}', r'instances_train\.json, line 2, column \d+: malformed JSON'),
        ('', r'instances_train\.json: is empty'),
        ('[' * 100_000, 'malformed JSON'),
        ('\ufeff{}', 'not in COCO format: it holds an empty object'),
        ('{"images": [], "images": []}', "the key 'images' twice"),
        ('{"images": ' + '[' * 900 + ']' * 900 + '}', 'nested'),
        ('{"images": [' + '9' * 5000 + ']}', 'a number of thousands of digits'),
        ('[]', 'not in COCO format: it holds a list'),
        ('{"shapes": [], "imageData": null}', "holds an object of 'shapes', 'imageData'"),
        ('{"images": [], "annotations": {}, "categories": []}', 'annotations should be in it as a list'),
        ('3', 'not in COCO format'),
    ],
)
def test_files_that_are_not_coco(data: Data, text: str, message: str):
    data.ann_file.write_text(text, encoding='utf-8')
    with pytest.raises(SagaError, match=message):
        check_coco(data.ann_file, data.images)


def test_a_file_in_another_encoding(data: Data):
    data.ann_file.write_bytes(b'{"images": "\xff\xfe"}')
    with pytest.raises(SagaError, match='is not in UTF-8'):
        check_coco(data.ann_file, data.images)


RECORDS = [
    ('categories', {'id': 'one'}, "category without an integer id: entry 0 \\('one'\\)"),
    ('categories', {'id': 2}, 'category id used twice: 2'),
    ('categories', {'name': None}, 'category without a name: category 1'),
    ('categories', {'name': 'square'}, "two categories of one name: 'square'"),
    ('categories', {'name': '\ud800'}, r"that cannot be shown: category 1 \('\\ud800'\)"),
    ('categories', {'name': 'a' * 10**6}, 'category with a name that cannot be shown: category 1'),
    ('images', {'file_name': '\ud800.png'}, 'file_name that no file can have: image 1'),
    ('images', {'file_name': 'a' * 10**6}, 'file_name that no file can have: image 1'),
    ('images', {'id': 2**70}, 'image without an integer id'),
    ('images', {'width': 10**60}, 'image without width and height'),
    ('images', {'id': None}, 'image without an integer id'),
    ('images', {'id': 2}, 'image id used twice: 2'),
    ('images', {'file_name': 5}, 'image without a file_name: image 1'),
    ('images', {'file_name': '../../etc/x.png'}, r'file_name that leaves the image folder: \.\./\.\./etc/x\.png'),
    ('images', {'file_name': 'a/../../x.png'}, 'leaves the image folder'),
    ('images', {'file_name': '/etc/passwd'}, 'leaves the image folder: /etc/passwd'),
    ('images', {'file_name': 'C:\\x.png'}, 'leaves the image folder'),
    ('images', {'file_name': 'x\0.png'}, 'leaves the image folder'),
    ('images', {'width': None}, r'image without width and height .*image 1 \(None, 96\)'),
    ('images', {'height': 0}, 'image without width and height'),
    ('images', {'file_name': 'none.png'}, r'image listed but absent from .*train: none\.png'),
    ('images', {'file_name': 'sub/none.png'}, r'image listed but absent from .*train: sub/none\.png'),
    ('annotations', {'image_id': 77}, r'annotation of an unknown image_id: annotation 1 \(77\)'),
    ('annotations', {'image_id': [1]}, 'unknown image_id'),
    ('annotations', {'category_id': 0}, r'annotation of an unknown category_id: annotation 1 \(0\)'),
    ('annotations', {'category_id': {}}, 'unknown category_id'),
    ('annotations', {'category_id': 6}, 'run from 1 to 5; are those of annotations one off'),
    ('annotations', {'category_id': '1'}, 'write category_id as a number, without quotation marks'),
    ('annotations', {'image_id': 9}, 'run from 1 to 8; are those of annotations one off'),
    ('annotations', {'area': float('nan')}, 'area nan is not a finite number'),
    ('annotations', {'bbox': [1, 2, 3]}, r'annotation 1 \(bbox \[1, 2, 3\] is not four finite numbers'),
    ('annotations', {'bbox': None}, 'bbox None is not four'),
    ('annotations', {'bbox': [1, 2, 3, float('nan')]}, 'is not four finite numbers'),
    ('annotations', {'bbox': [1, 2, '3', 4]}, 'is not four finite numbers'),
    ('annotations', {'bbox': [1, 2, -3, 4]}, 'has a negative size'),
    ('annotations', {'area': None}, 'area None is not a finite number'),
    ('annotations', {'iscrowd': 'no'}, 'iscrowd no is not 0 or 1'),
    (
        'annotations',
        {'segmentation': {'size': [95, 96], 'counts': '0'}},
        r'segmentation has run-length size \[95, 96\]',
    ),
    ('annotations', {'segmentation': {'size': [96, 96], 'counts': 'zz'}}, 'malformed run-length counts'),
    ('annotations', {'segmentation': [[1, 2, 3]]}, 'odd count'),
]


@pytest.mark.parametrize(('kind', 'change', 'message'), RECORDS)
def test_a_wrong_record_is_named(data: Data, kind: str, change: dict, message: str):
    data.content[kind][0].update(change)
    data.refuse(message)


@pytest.mark.parametrize('ids', [0, -5, 'texts', 'same', None])
def test_ids_of_annotations_may_be_anything(data: Data, ids: object):
    for index, ann in enumerate(data.content['annotations']):
        if ids is None:
            del ann['id']
        else:
            ann['id'] = {'texts': f'a{index}', 'same': 3}.get(ids) or ids + index
    assert 'All images decoded' in data.check()


def test_an_image_of_another_size_than_listed(data: Data):
    data.content['annotations'] = [ann for ann in data.content['annotations'] if ann['image_id'] != 1]
    data.content['images'][0]['width'] = 95
    data.refuse(r'image of another size .*000000\.png \(is 96 x 96, listed as 95 x 96\)')


@pytest.mark.parametrize('kind', ['categories', 'images', 'annotations'])
def test_records_that_are_no_objects(data: Data, kind: str):
    data.content[kind].insert(1, 'x')
    data.refuse(r"that is no object: entry 1 \('x'\)")


@pytest.mark.parametrize(
    ('kind', 'message'), [('categories', 'no categories'), ('images', 'no images'), ('annotations', 'no annotations')]
)
def test_empty_lists(data: Data, kind: str, message: str):
    data.content[kind] = []
    data.refuse(message)


FILTERS = [
    ({'min_size': 97}, 'would leave out all 8 images: they have a side below filter_cfg.min_size=97.*min_size=96 to'),
    ({'filter_empty_gt': True}, None),
    ({'min_size': 96, 'filter_empty_gt': True}, None),
]


@pytest.mark.parametrize(('filter_cfg', 'message'), FILTERS)
def test_images_that_a_filter_leaves_out(data: Data, filter_cfg: dict, message: str | None):
    if message:
        data.refuse(message, filter_cfg=filter_cfg)
        return
    assert not check_coco(data.ann_file, data.images, filter_cfg=filter_cfg).warnings
    data.content['annotations'] = [ann for ann in data.content['annotations'] if ann['image_id'] > 3]
    data.check()
    lines = check_coco(data.ann_file, data.images, filter_cfg=filter_cfg).warnings.lines()
    assert len(lines) == 1 and 'leaves out 3 of 8 images with no object' in lines[0]
    assert 'train_dataloader.dataset.filter_cfg.filter_empty_gt=False' in lines[0]


def test_files_without_annotations_on_demand(data: Data):
    del data.content['annotations']
    assert ' 0 annotations' in data.check(need_annotations=False)
    data.refuse('annotations should be in it')


def test_annotations_that_mmdet_does_not_use_are_as_none(data: Data):
    for ann in data.content['annotations']:
        ann['area'] = 0
    count = len(data.content['annotations'])
    data.refuse(f'none of its {count} annotations can be used, {count} for an area of 0, for .*width x height')


def test_areas_of_0_are_named_apart_from_boxes_without_a_size(data: Data):
    first, second, third = data.content['annotations'][:3]
    first['area'] = second['area'] = 0
    second['bbox'][2] = third['bbox'][3] = 0
    data.check()
    lines = ' '.join(check_coco(data.ann_file, data.images).warnings.lines())
    assert '3 annotations that mmdet drops' in lines
    assert '1 annotations have an area of 0 and a box with a size: training leaves them out' in lines


def test_masks_are_required_on_demand(data: Data):
    data.content['annotations'][0]['segmentation'] = []
    data.check()
    data.refuse('annotation without a mask: annotation 1', need_masks=True)
    data.content['annotations'][0]['bbox'] = [0, 0, 0.5, 9]
    data.check(need_masks=True)


def test_many_problems_are_counted_and_all_kinds_listed(data: Data):
    for ann in data.content['annotations'][:7]:
        ann['category_id'] = 40
    data.content['annotations'][8]['image_id'] = 40
    text = data.refuse('unknown category_id')
    assert 'category_id (7 times): annotation 1 (40), annotation 2 (40)' in text
    assert 'annotation 5 (40) and 2 more' in text
    assert 'annotation 6' not in text
    assert 'unknown image_id: annotation 9 (40)' in text


def test_a_wrong_folder_is_suspected_when_all_images_are_absent(data: Data, tmp_path: Path):
    data.images = tmp_path / 'empty'
    data.images.mkdir()
    data.refuse(r'absent from .*empty \(8 times\).* and 3 more\. None of the listed images is there')


def test_links_that_leave_the_data(data: Data, tmp_path: Path):
    deep = tmp_path / 'w' / 'x' / 'y' / 'images'
    shutil.move(data.images, deep)
    data.images = deep
    outside = tmp_path / 'outside'
    outside.mkdir()
    shutil.move(data.first, outside / 'x.png')
    data.first.symlink_to(outside / 'x.png')
    data.refuse(r'symbolic link that leaves the data of .*: 000000\.png')

    data.first.unlink()
    (data.images / 'sub').symlink_to(outside)
    data.content['images'][0]['file_name'] = 'sub/x.png'
    data.refuse(r'symbolic link that leaves the data of .*: sub/x\.png')


def test_links_into_a_store_beside_the_folder(data: Data, tmp_path: Path):
    (tmp_path / 'store').mkdir()
    shutil.move(data.first, tmp_path / 'store' / '0a1b')
    data.first.symlink_to(tmp_path / 'store' / '0a1b')
    assert 'All images decoded' in data.check()


def test_links_that_stay_are_fine(data: Data, tmp_path: Path):
    shutil.move(data.first, data.images / 'x.png')
    data.first.symlink_to('x.png')
    shutil.move(data.images, tmp_path / 'disk')
    data.images.symlink_to(tmp_path / 'disk')
    assert 'All images decoded' in data.check()


def as_jpeg(data: Data, index: int, **kwargs: object) -> Path:
    """Make one of the images a JPEG of noise, and list it."""
    path = data.images / f'{index}.jpg'
    noise = np.random.default_rng(index).integers(0, 255, (64, 96, 3), dtype=np.uint8)
    Image.fromarray(noise).save(path, **kwargs)
    image = data.content['images'][index]
    image.update(file_name=path.name, width=96, height=64)
    data.content['annotations'] = [ann for ann in data.content['annotations'] if ann['image_id'] != image['id']]
    return path


def cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-900])


def spoil_middle(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[len(content) // 2 :] = bytes(len(content) - len(content) // 2)
    path.write_bytes(content)


@pytest.mark.parametrize('decode', [True, False])
@pytest.mark.parametrize(
    'spoil', [cut, lambda path: path.write_bytes(b''), lambda path: path.write_text('<html>404</html>'), spoil_middle]
)
def test_unreadable_images_are_named(data: Data, spoil: Callable[[Path], object], decode: bool):
    spoil(as_jpeg(data, 3))
    spoil(data.first)
    text = data.refuse(r'unreadable image in .* \(2 times\)', decode=decode)
    assert '000000.png (' in text
    assert '3.jpg (' in text


def test_the_end_of_a_thumbnail_is_not_the_end_of_the_jpeg(data: Data):
    path = as_jpeg(data, 0, exif=b'Exif\0\0' + b'MM\0*\0\0\0\x08\0\0\0\0\0\0' + b'\xff\xd8\xff\xd9')
    data.check(decode=False)
    spoil_middle(path)
    data.refuse(r'0\.jpg \(cut off', decode=False)


def test_a_jpeg_with_bytes_after_its_end_is_fine(data: Data):
    path = as_jpeg(data, 0)
    path.write_bytes(path.read_bytes() + bytes(500))
    assert '8 images' in data.check(decode=False)
    assert 'All images decoded' in data.check(decode=True)


def test_a_format_that_opencv_does_not_read(data: Data):
    path = data.images / 'x.pcx'
    Image.open(data.first).save(path)
    data.content['images'][0]['file_name'] = path.name
    data.refuse(r'x\.pcx \(OpenCV does not read PCX')


def test_gray_palette_and_other_formats_are_fine(data: Data):
    with Image.open(data.first) as image:
        for index, (name, mode) in enumerate([('a.png', 'L'), ('b.png', 'P'), ('c.bmp', 'RGB'), ('d.tif', 'RGB')]):
            image.convert(mode).save(data.images / name)
            data.content['images'][index]['file_name'] = name
    assert 'All images decoded' in data.check(decode=True)
    assert '8 images' in data.check(decode=False)


def test_a_picture_turned_by_exif_must_be_annotated_as_shown(data: Data):
    exif = Image.Exif()
    exif[0x0112] = 6
    as_jpeg(data, 0, exif=exif)
    text = data.refuse(r'turns by 90 degrees.*color_ignore_orientation')
    assert '0.jpg (96 x 64 before, 64 x 96 after)' in text
    data.check(ignore_orientation=True)
    data.content['images'][0].update(width=64, height=96)
    data.check()
    data.refuse('width and height the annotation file exchanges', ignore_orientation=True)


def test_the_size_is_compared_before_a_huge_picture_is_decoded(data: Data):
    data.content['annotations'] = [ann for ann in data.content['annotations'] if ann['image_id'] != 1]
    head = bytearray(data.first.read_bytes())
    head[16:24] = struct.pack('>II', 40000, 40000)
    head[29:33] = struct.pack('>I', zlib.crc32(head[12:29]))
    data.first.write_bytes(head)
    data.refuse(r'000000\.png \(is 40000 x 40000, listed as 96 x 96\)')


@pytest.mark.parametrize(
    ('on_disk', 'listed', 'told'),
    [
        ('val/a.png', 'val\\a.png', r'there with / for \\: val/a\.png'),
        ('a b.png', 'a%20b.png', r'there without %20 and the like: a b\.png'),
        ('caf\u00e9.png', 'cafe\u0301.png', r'in composed letters \(NFC\): caf.\.png'),
        ('cafe\u0301.png', 'caf\u00e9.png', r'in decomposed letters \(NFD\), as macOS writes them: cafe.\.png'),
        ('a.png', 'A.PNG', r'with other capitals: a\.png'),
        ('a.png', 'images/train/a.png', r'there without a folder: a\.png'),
    ],
)
def test_a_file_that_is_there_under_a_name_written_otherwise(data: Data, on_disk: str, listed: str, told: str):
    (data.images / on_disk).parent.mkdir(exist_ok=True)
    data.first.rename(data.images / on_disk)
    data.content['images'][0]['file_name'] = listed
    data.refuse(rf'absent from .*The first is .*{told}\. Correct file_name')
