import unicodedata
from pathlib import Path

import pytest
from PIL import Image

from saga_mm.errors import SagaError
from saga_mm.loading.config import load_config
from saga_mm.tasks.own_data import OwnData, class_counts, use_own_data
from saga_mm.tasks.segmentation.data import SegmentationData
from saga_mm.tasks.segmentation.own_masks import find_suffixes, read_classes

FOLDERS = {'img': 'photos', 'mask': 'masks'}


def save(folder: Path, *names: str) -> Path:
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        Image.new('L', (4, 4)).save(folder / name)
    return folder


@pytest.fixture
def data(tmp_path) -> Path:
    for part in ('train', 'val'):
        save(tmp_path / part / 'photos', 'a.jpg', 'sub/b.jpg')
        save(tmp_path / part / 'masks', 'a_ids.png', 'sub/b_ids.png', 'a_colour.png')
    (tmp_path / 'classes.txt').write_text('\ufeffroad\n\n  sky \ncar\n', encoding='utf-8')
    return tmp_path


def own(data: Path, **change: str | None) -> OwnData:
    given = {f'{part}_{kind}': f'{part}/{name}' for part in ('train', 'val') for kind, name in FOLDERS.items()}
    return OwnData(**{'data_root': str(data), **given, 'classes': 'classes.txt', **change})


@pytest.mark.parametrize('config', ['saga_upernet.py', 'ade20k/upernet_saga-pvt-t_160k_ade20k-512x512.py'])
def test_config_points_at_the_data(data, config):
    cfg = load_config(config)
    use_own_data(cfg, own(data))
    for loader, part in (('train_dataloader', 'train'), ('val_dataloader', 'val'), ('test_dataloader', 'val')):
        dataset = cfg[loader].dataset
        assert (dataset.type, dataset.data_root, dataset.reduce_zero_label) == ('BaseSegDataset', '', False)
        folders = {'img_path': str(data / part / 'photos'), 'seg_map_path': str(data / part / 'masks')}
        assert dataset.data_prefix == folders and (dataset.img_suffix, dataset.seg_map_suffix) == ('.jpg', '_ids.png')
        assert dataset.metainfo.classes == ('road', 'sky', 'car') and len(set(dataset.metainfo.palette)) == 3
    counts = class_counts(cfg.model, SegmentationData.compared)
    assert set(counts) <= {('model.decode_head', 3), ('model.auxiliary_head', 3)} and counts
    assert 'demo_data' not in cfg


def test_testing_needs_the_validation_part_alone(data):
    cfg = load_config('saga_upernet.py')
    use_own_data(cfg, own(data, train_img=None, train_mask=None), training=False)
    assert cfg.test_dataloader.dataset.data_prefix.img_path == str(data / 'val/photos')
    assert cfg.train_dataloader.dataset.data_root == 'data/demo_shapes/'


@pytest.mark.parametrize(
    ('change', 'words'),
    [
        ({'classes': None}, r'--data-root.* needs --classes as well: a text file with one class name a line'),
        ({'val_mask': None}, 'needs --val-mask as well: the folder of the masks of the images to evaluate on'),
        ({'train_img': None}, 'needs --train-img as well: the folder of the training images'),
        (
            {'train_ann': 'a.json'},
            r'^--train-ann: for detection, and config .*saga_upernet\.py is for segmentation, which takes --train-img',
        ),
        ({'classes': 'gone.txt'}, r'--classes .*gone\.txt: cannot be read'),
        ({'val_mask': 'gone'}, 'gone: no such folder'),
    ],
)
def test_what_is_missing_or_wrong_is_named(data, change, words):
    with pytest.raises(SagaError, match=words) as caught:
        use_own_data(load_config('saga_upernet.py'), own(data, **change))
    assert '\n' not in str(caught.value)


@pytest.mark.parametrize(
    ('content', 'words'),
    [(b'road\nsky\nroad\n', "names 'road' twice"), (b'road\n', 'holds 1 names'), (b'\xff\xfe\x00', 'begins as UTF-16')],
)
def test_lists_of_classes_that_cannot_be_used(tmp_path, content, words):
    (tmp_path / 'c.txt').write_bytes(content)
    with pytest.raises(SagaError, match=words):
        read_classes(tmp_path / 'c.txt')


def test_the_suffix_that_all_masks_share_is_found(tmp_path):
    images = save(tmp_path / 'images', 'x[1].png', 'x.png')
    masks = save(tmp_path / 'masks', 'x[1].png', 'x.png')
    assert find_suffixes(images, masks) == ('.png', '.png')


def test_images_are_of_one_kind(tmp_path):
    images = save(tmp_path / 'images', 'a.jpg', 'b.png', 'c.jpg')
    with pytest.raises(SagaError, match=r'images: holds images of several kinds \(2 \.jpg, 1 \.png\)'):
        find_suffixes(images, save(tmp_path / 'masks', 'a.png', 'b.png', 'c.png'))


def test_images_without_a_mask_are_named(tmp_path):
    images = save(tmp_path / 'images', 'a.jpg', 'b.jpg', 'c.jpg')
    masks = save(tmp_path / 'masks', 'a_m.png', 'c_m.png')
    with pytest.raises(SagaError, match=r'has no mask b_m\.png for b\.jpg \(1 of 3 images lack theirs\)'):
        find_suffixes(images, masks)
    with pytest.raises(SagaError, match=r'has no mask a\.png for a\.jpg'):
        find_suffixes(images, save(tmp_path / 'other', 'z.png'))


def test_names_that_are_a_table_are_refused_and_the_number_is_up_to_the_task(tmp_path):
    path = tmp_path / 'classes.txt'
    path.write_text('0\troad\n1\tsky\n')
    with pytest.raises(SagaError, match=r"'0\\troad' holds a tab"):
        read_classes(path)
    path.write_text('\n'.join(f'class {i}' for i in range(1000)))
    with pytest.raises(SagaError, match='holds 1000 names, and 2 to 255 are possible'):
        read_classes(path)
    assert len(read_classes(path, 100_000)) == 1000


@pytest.mark.parametrize(
    ('mask', 'way'),
    [
        (unicodedata.normalize('NFD', 'für'), r'in decomposed letters \(NFD\)'),
        ('FÜR', 'with other capitals'),
    ],
)
def test_a_mask_whose_name_is_written_otherwise(tmp_path, mask, way):
    images, masks = save(tmp_path / 'photos', 'für.jpg'), save(tmp_path / 'masks', f'{mask}.png')
    with pytest.raises(SagaError, match=f'has no mask für.png for für.jpg. The first is there {way}'):
        find_suffixes(images, masks)


def test_endings_that_differ_in_capitals_alone(tmp_path):
    images, masks = save(tmp_path / 'photos', 'a.jpg', 'b.JPG'), save(tmp_path / 'masks', 'a.png', 'b.png')
    with pytest.raises(SagaError, match=r'several kinds \(1 \.jpg, 1 \.JPG\); rename them to one'):
        find_suffixes(images, masks)


@pytest.mark.parametrize(
    ('text', 'said'),
    [
        ('0 road\n1 sky\n2 car\n', "'0 road' is a number and a name"),
        ('1: road\n2: sky\n', "'1: road' is a number and a name"),
        ('0,road\n1,sky\n', "'0,road' is a number and a name"),
        ('road 128 64 128\nsky 0 128 255\n', "'road 128 64 128' holds a colour beside a name"),
        ('128,64,128,road\n0,128,255,sky\n', "'128,64,128,road' holds a colour beside a name"),
        ('[\n"road",\n"sky"\n]\n', 'is JSON'),
        ('# my classes\nroad\nsky\n', "'# my classes' looks like a comment"),
    ],
)
def test_lines_that_are_no_names(tmp_path, text, said):
    """They would be taken for classes, and a comment would move the ids of all others."""
    (tmp_path / 'c.txt').write_text(text)
    with pytest.raises(SagaError, match=f'c.txt: {said}; a line is one name, the first that of id 0'):
        read_classes(tmp_path / 'c.txt')


@pytest.mark.parametrize('text', ['0\n1\n2\n', '3 doors\n5 doors\n', 'road 1\nroad 2\n', 'C#\nC++\n', '1 road\nsky\n'])
def test_names_with_numbers_and_signs_in_them(tmp_path, text):
    (tmp_path / 'c.txt').write_text(text)
    assert read_classes(tmp_path / 'c.txt') == tuple(text.split('\n')[:-1])
