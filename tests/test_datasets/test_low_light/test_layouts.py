import unicodedata
from collections.abc import Callable
from pathlib import Path

import pytest

from saga_mm.datasets.low_light.layouts import Pairing, find_pairs, guess_layout, natural, without_suffix
from saga_mm.errors import SagaError


def put(root: Path, *names: str) -> None:
    """Empty files: layouts go by names alone."""
    for name in names:
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()


def short(found: Pairing, root: Path) -> list[tuple]:
    """Name, dark and bright path below ``root``, and scene of each pair."""
    return [(p.name, *(path and Path(path).relative_to(root).as_posix() for path in p[1:3]), p.scene) for p in found[0]]


@pytest.mark.parametrize(
    ('layout', 'train', 'test'),
    [
        ('lol_v1', 'our485/{low,high}', 'eval15/{low,high}'),
        ('lol_v1', 'Train/{input,target}', 'Test/{input,target}'),
        ('lol_v2_real', 'Real_captured/Train/{Low,Normal}', 'Real_captured/Test/{Low,Normal}'),
        ('lol_v2_synthetic', 'Synthetic/Train/{Low,Normal}', 'Synthetic/Test/{Low,Normal}'),
        ('uhd_ll', 'training_set/{input,gt}', 'testing_set/{input,gt}'),
    ],
)
def test_public_layouts(tmp_path: Path, layout: str, train: str, test: str):
    for pattern, name in ((train, '1.png'), (test, '2.png')):
        folder, _, sides = pattern.rpartition('/')
        put(tmp_path, *(f'{folder}/{side}/{name}' for side in sides.strip('{}').split(',')))
    for pattern, name, is_test in ((train, '1', False), (test, '2', True)):
        folder, _, sides = pattern.rpartition('/')
        low, high = (f'{folder}/{side}/{name}.png' for side in sides.strip('{}').split(','))
        found = find_pairs(tmp_path, layout=layout, test=is_test)
        assert short(found, tmp_path) == [(name, low, high, name)]
        assert not found.only_low and not found.only_high
    assert guess_layout(tmp_path) == layout


def test_names_that_differ_by_a_word_for_the_side(tmp_path: Path):
    root = tmp_path / 'Real_captured/Train'
    put(root, 'Low/low00690.png', 'Normal/normal00690.png', 'Low/low00691.png', 'Normal/normal00691.png')
    put(root, 'Low/700.png', 'Normal/700.png')
    found = find_pairs(tmp_path, layout='lol_v2_real')
    assert [(p.name, Path(p.high).name) for p in found.pairs] == [
        ('700', '700.png'),
        ('low00690', 'normal00690.png'),
        ('low00691', 'normal00691.png'),
    ]
    assert not found.only_low and not found.only_high


@pytest.mark.parametrize(
    ('low', 'high', 'match'),
    [
        ('a_low.jpg', 'a_high.png', True),
        ('dark-3.png', 'bright-3.png', True),
        ('3_INPUT.png', '3.png', True),
        ('12low.png', '12gt.png', True),
        ('lower.png', 'er.png', False),
        ('highway.png', 'way.png', False),
        ('low_1.png', 'high_2.png', False),
        ('night/1.png', 'night/1.JPG', True),
        ('night/1.png', 'day/1.png', False),
    ],
)
def test_which_names_belong_together(tmp_path: Path, low: str, high: str, match: bool):
    put(tmp_path, f'low/{low}', f'high/{high}')
    found = find_pairs(tmp_path)
    assert len(found.pairs) == match
    assert found.only_low == [] if match else [str(tmp_path / 'low' / low)]
    assert found.only_high == [] if match else [str(tmp_path / 'high' / high)]


def test_what_is_not_clear_is_not_paired(tmp_path: Path):
    put(tmp_path, 'low/1.png', 'low/2.png', 'low/low_3.png', 'low/3_low.png')
    put(tmp_path, 'high/1.png', 'high/1.jpg', 'high/2.png', 'high/3.png')
    found = find_pairs(tmp_path)
    assert [pair.name for pair in found.pairs] == ['2']
    assert {Path(path).name for path in found.only_low} == {'1.png', 'low_3.png', '3_low.png'}
    assert {Path(path).name for path in found.only_high} == {'1.png', '1.jpg', '3.png'}


def test_an_equal_name_goes_before_a_similar_one(tmp_path: Path):
    put(tmp_path, 'low/5.png', 'low/low_5.png', 'high/5.png', 'high/high_5.png')
    assert [(p.name, Path(p.high).stem) for p in find_pairs(tmp_path).pairs] == [('5', '5'), ('low_5', 'high_5')]


def test_pairs_are_sorted_by_number(tmp_path: Path):
    put(tmp_path, *(f'{side}/{name}.png' for side in ('low', 'high') for name in (10, 9, 100, 'b', 'a')))
    assert [pair.name for pair in find_pairs(tmp_path).pairs] == ['9', '10', '100', 'a', 'b']
    # a superscript is a digit to str.isdigit and none to int
    assert sorted(['a10', 'a²', 'a9'], key=natural) == ['a9', 'a10', 'a²']


def test_folders_of_ones_own(tmp_path: Path):
    put(tmp_path, 'night/x.png', 'elsewhere/x.tif', 'root.png', 'in/root.png')
    found = find_pairs(tmp_path, 'night', str(tmp_path / 'elsewhere'))
    assert short(found, tmp_path) == [('x', 'night/x.png', 'elsewhere/x.tif', 'x')]
    # a folder inside the other is not part of it
    assert ('root', 'root.png', 'in/root.png', 'root') in short(find_pairs(tmp_path, '.', 'in'), tmp_path)


def test_bright_pictures_alone(tmp_path: Path):
    put(tmp_path, 'photos/b.png', 'photos/a/c.jpg', 'photos/readme.txt', 'photos/.hidden.png')
    found = find_pairs(tmp_path, low=None, high='photos')
    assert short(found, tmp_path) == [('b', None, 'photos/b.png', 'b'), ('a/c', None, 'photos/a/c.jpg', 'a/c')]


@pytest.mark.parametrize(
    ('files', 'call', 'message'),
    [
        (['low/1.png'], lambda r: find_pairs(r), r'Folder .*high does not exist. Correct data_root, low and high'),
        (['high/1.png'], lambda r: find_pairs(r), r'Folder .*low does not exist'),
        (['low/1.txt', 'high/1.png'], lambda r: find_pairs(r), r'low: has no pictures'),
        (['our485/low/1.png', 'our485/high/1.png'], lambda r: find_pairs(r), "looks like layout='lol_v1': set that"),
        (['low/1.png'], lambda r: find_pairs(r, layout='lol'), "no layout 'lol'. Take one of lol_v1, .*uhd_ll"),
        (['low/1.png'], lambda r: find_pairs(r, layout='lol_v1'), 'no our485/low and our485/high, or Train/input and'),
        (['low/1.png'], lambda r: find_pairs(r, test=True), "split='test' needs a layout"),
    ],
)
def test_what_is_wrong_is_said(tmp_path: Path, files: list[str], call: Callable, message: str):
    put(tmp_path, *files)
    with pytest.raises(SagaError, match=message):
        call(tmp_path)


def test_nothing_is_guessed_of_other_folders(tmp_path: Path):
    put(tmp_path, 'low/1.png', 'high/1.png')
    assert guess_layout(tmp_path) is None
    assert guess_layout(tmp_path / 'absent') is None
    assert (without_suffix('a/b.1.PNG'), without_suffix('b.1')) == ('a/b.1', 'b.1')


def test_letters_that_macos_decomposes(tmp_path: Path):
    low, high = (unicodedata.normalize(form, 'für/Höhe') for form in ('NFC', 'NFD'))
    put(tmp_path, f'low/{low}.png', f'high/{high}.png')
    found = find_pairs(tmp_path)
    assert short(found, tmp_path)[0][1:3] == (f'low/{low}.png', f'high/{high}.png')
    assert not found.only_low and not found.only_high
