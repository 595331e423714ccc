"""Folders of classes and lists of files."""

import os

import pytest

from saga_mm.datasets.classification.folders import ImageFolder, list_files
from saga_mm.errors import SagaError


@pytest.fixture
def root(tmp_path):
    for name in (
        'b/2.jpg',
        'b/sub/1.PNG',
        'a/1.jpg',
        'a/notes.txt',
        '.hidden/1.jpg',
        '__MACOSX/1.jpg',
        'b/@eaDir/1.jpg',
    ):
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b'')
    return tmp_path


def test_folders_are_classes(root):
    data = ImageFolder(str(root))
    assert data.metainfo['classes'] == ('a', 'b') and len(data) == 3
    found = [(data.get_data_info(i)['img_path'], data.get_data_info(i)['gt_label']) for i in range(3)]
    assert found == [(str(root / 'a/1.jpg'), 0), (str(root / 'b/2.jpg'), 1), (str(root / 'b/sub/1.PNG'), 1)]


def test_named_classes_give_the_labels(root):
    data = ImageFolder(str(root), metainfo=dict(classes=('b', 'c', 'a')))
    assert [data.get_data_info(i)['gt_label'] for i in range(3)] == [2, 0, 0]
    with pytest.raises(SagaError, match=r"has the class 'b', and the classes are 'a', 'c'"):
        ImageFolder(str(root), metainfo=dict(classes=('a', 'c')))


def test_two_classes_of_one_name_are_refused(root):
    # answers are listed by name: one of the two would be lost
    (root / 'list.txt').write_text('a/1.jpg 0\nb/2.jpg 2\n')
    with pytest.raises(SagaError, match="classes name 'crane' twice"):
        list_files(str(root), 'list.txt', ('crane', 'heron', 'crane'))


def test_lists(root):
    (root / 'list.txt').write_text('b/2.jpg\n\na/1.jpg\n')
    assert list_files(str(root), 'list.txt')[:2] == (('a', 'b'), [('b/2.jpg', 1), ('a/1.jpg', 0)])
    (root / 'named.txt').write_text('b/2.jpg cat\na/1.jpg dog\n')
    assert list_files(str(root), 'named.txt')[:2] == (('cat', 'dog'), [('b/2.jpg', 0), ('a/1.jpg', 1)])
    (root / 'numbers.txt').write_text('b/2.jpg 0\na/1 one.jpg 1\n')
    assert list_files(str(root), 'numbers.txt', ('x', 'y')).files == [('b/2.jpg', 0), ('a/1 one.jpg', 1)]


@pytest.mark.parametrize(
    ('numbers', 'classes', 'labels'),
    [
        ((0, 2, 10), tuple(map(str, range(11))), [0, 2, 10]),
        ((10, 9, 2), tuple(map(str, range(11))), [10, 9, 2]),
        ((1, 2, 1), ('0', '1', '2'), [1, 2, 1]),
    ],
)
def test_numbers_in_a_list_are_the_labels(root, numbers, classes, labels):
    (root / 'list.txt').write_text(''.join(f'a/{i}.jpg {number}\n' for i, number in enumerate(numbers)))
    found = list_files(str(root), 'list.txt')
    assert found.classes == classes and [label for _, label in found.files] == labels


def test_numbers_of_few_of_many_classes_need_names(root):
    (root / 'list.txt').write_text('a/1.jpg 3\na/2.jpg 2999\n')
    with pytest.raises(SagaError, match='has 2 numbers of classes, up to 2999'):
        list_files(str(root), 'list.txt')
    assert list_files(str(root), 'list.txt', list(map(str, range(3000)))).files[1] == ('a/2.jpg', 2999)


def test_what_is_left_out_is_named(root, tmp_path_factory):
    heads = {
        'a/photo': b'\xff\xd8\xff',
        'a/x.avif': b'\0\0\0\x1cftypavif',
        'a/._2.jpg': b'',
        'a/c.mp4': b'\0\0\0\x1cftypisom',
    }
    heads |= {
        'a/p.HEIC': b'\0\0\0\x1cftypheic',
        'loose.jpg': b'\xff\xd8\xff',
        'notes.txt': b'x',
        'b/deep.nef': b'II*\0',
        'b/scan.TGA': b'\0\0\2',
    }
    for name, head in heads.items():
        (root / name).write_bytes(head + bytes(40))
    (root / 'c').mkdir()
    store = tmp_path_factory.mktemp('store')
    (store / '3.jpg').write_bytes(b'')
    (root / 'b' / 'more').symlink_to(store)
    (root / 'b' / 'more' / 'round').symlink_to(root / 'b')
    (root / 'b' / 'gone.jpg').symlink_to(root / 'nothing.jpg')
    os.mkfifo(root / 'a' / 'pipe.jpg')
    found = list_files(str(root))
    names = [name for name, _ in found.files]
    assert names == ['a/1.jpg', 'a/photo', 'a/x.avif', 'b/2.jpg', 'b/more/3.jpg', 'b/sub/1.PNG']
    reasons = dict(found.left_out)
    assert set(reasons) == {
        'a/c.mp4',
        'a/p.HEIC',
        'a/pipe.jpg',
        'b/deep.nef',
        'b/gone.jpg',
        'b/scan.TGA',
        'c',
        'loose.jpg',
    }
    assert 'a pipe' in reasons['a/pipe.jpg'] and 'which is not there' in reasons['b/gone.jpg']
    assert reasons['loose.jpg'] == 'is in no folder of a class' and reasons['c'] == 'is a folder without a picture'
    assert 'not trained on' in reasons['b/scan.TGA']
    assert 'HEIC' in reasons['a/p.HEIC'] and 'raw' in reasons['b/deep.nef'] and reasons['a/c.mp4'] == 'is a video'


def test_absolute_names_below_the_root(root):
    (root / 'list.txt').write_text(f'{root}/b/2.jpg x\n{root}/a/../a/1.jpg y\n')
    assert list_files(str(root), 'list.txt').files == [('b/2.jpg', 0), ('a/1.jpg', 1)]


@pytest.mark.parametrize(
    ('line', 'message'),
    [
        ('../a/1.jpg cat', r"line 1 names '\.\./a/1\.jpg', which is outside of"),
        ('/etc/x.jpg cat', r'line 1 names .* outside of'),
        ('cat', r"line 1 is 'cat'\. Each line should be a file"),
        ('1.jpg', r"line 1 is '1\.jpg'"),
        ('', 'has no pictures in folders of classes'),
    ],
)
def test_lists_that_are_refused(root, line, message):
    (root / 'list.txt').write_text(line + '\n')
    with pytest.raises(SagaError, match=message):
        list_files(str(root), 'list.txt')


def test_a_folder_that_is_not_there_and_one_that_leads_out(root, tmp_path_factory):
    with pytest.raises(SagaError, match='there is no such folder'):
        list_files(str(root / 'no'))
    away = tmp_path_factory.mktemp('away', numbered=True) / 'x' / 'y' / 'z' / 'w'
    away.mkdir(parents=True)
    inner = root / 'p' / 'q' / 'r' / 's'
    (inner / 'a').mkdir(parents=True)
    (inner / 'c').symlink_to(away)
    with pytest.raises(SagaError, match='is a symbolic link that leaves'):
        list_files(str(inner))
