"""Folders of classes and lists of files."""

import pytest

from saga_mm.datasets.classification.folders import ImageFolder, list_files
from saga_mm.errors import SagaError


@pytest.fixture
def root(tmp_path):
    for name in ('b/2.jpg', 'b/sub/1.PNG', 'a/1.jpg', 'a/notes.txt', '.hidden/1.jpg'):
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


def test_lists(root):
    (root / 'list.txt').write_text('b/2.jpg\n\na/1.jpg\n')
    assert list_files(str(root), 'list.txt') == (('a', 'b'), [('b/2.jpg', 1), ('a/1.jpg', 0)])
    (root / 'named.txt').write_text('b/2.jpg cat\na/1.jpg dog\n')
    assert list_files(str(root), 'named.txt') == (('cat', 'dog'), [('b/2.jpg', 0), ('a/1.jpg', 1)])
    (root / 'numbers.txt').write_text('b/2.jpg 0\na/1 one.jpg 1\n')
    assert list_files(str(root), 'numbers.txt', ('x', 'y')).files == [('b/2.jpg', 0), ('a/1 one.jpg', 1)]


@pytest.mark.parametrize(
    ('line', 'message'),
    [
        ('../a/1.jpg cat', r"line 1 names '\.\./a/1\.jpg', which is outside of"),
        ('/etc/x.jpg cat', r'line 1 names .* outside of'),
        ('cat', r"line 1 is 'cat'\. Each line should be a file"),
        ('1.jpg', r"line 1 is '1\.jpg'"),
        ('', 'has no pictures in folders of classes'),
        ('a/1.jpg', "has the class 'a' alone, and at least two are needed"),
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
