"""Pictures that are both trained and evaluated on."""

import pytest

from saga_mm.datasets.checks import shared
from saga_mm.datasets.checks.shared import shared_pictures, shared_text


@pytest.fixture
def files(tmp_path):
    """Three trained pictures of one size; evaluated ones: one of them, a link, a copy, one of that size, another."""
    for name, content in {
        'train/a': b'a' * 9000,
        'train/b': b'b' * 9000,
        'train/c': b'c' * 9000,
        'val/copy': b'b' * 9000,
        'val/nearly': b'b' * 8999 + b'x',
        'val/other': b'z' * 50,
    }.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes(content)
    (tmp_path / 'val/link').symlink_to('../train/a')
    trained = [str(tmp_path / 'train' / name) for name in 'abc']
    evaluated = [str(tmp_path / 'val' / name) for name in ('copy', 'nearly', 'other', 'link', 'gone')]
    return trained, [*evaluated, trained[2]]


def test_the_same_by_any_name(files, tmp_path):
    trained, evaluated = files
    wanted = [str(tmp_path / name) for name in ('train/c', 'val/copy', 'val/link')]
    assert shared_pictures(trained, evaluated) == wanted
    said = (
        f'3 of the 6 pictures to evaluate on are trained on as well, such as {wanted[0]}; the figures will be too high'
    )
    assert shared_text(trained, evaluated) == said
    assert shared_text(trained, evaluated[1:3]) == shared_text([], evaluated) == shared_text(trained, []) == ''


def test_of_many_pictures_copies_are_not_looked_for(files, tmp_path, monkeypatch):
    monkeypatch.setattr(shared, 'MOST', 2)
    assert shared_pictures(*files) == [str(tmp_path / 'train/c'), str(tmp_path / 'val/link')]
