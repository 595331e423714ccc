from pathlib import Path

import pytest

from saga_mm.display.drawing import OutputNames
from saga_mm.errors import SagaError


@pytest.fixture
def folders(tmp_path):
    for name in ('in/a.png', 'in/a.tif', 'in/a.bmp', 'in/sub/a.png', 'other/a.png'):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    return tmp_path / 'in', tmp_path / 'out'


def test_no_name_twice(folders):
    source, out = folders
    names = OutputNames(out, source)
    images = [
        source / 'a.png',
        source / 'a.tif',
        source / 'a.bmp',
        source / 'sub' / 'a.png',
        source / '..' / 'other' / 'a.png',
    ]
    paths = [str(names.path_for(image).relative_to(out)) for image in images]
    assert paths == ['a.jpg', 'a_tif.jpg', 'a_bmp.jpg', 'sub/a.jpg', 'a_png.jpg']
    assert str(names.path_for(images[0]).relative_to(out)) == 'a_2.jpg'
    assert (out / 'sub').is_dir()


def test_never_an_input(folders):
    source, _ = folders
    (source / 'b.jpg').touch()
    with pytest.raises(SagaError, match='one of the images themselves'):
        OutputNames(source, source).path_for(source / 'b.jpg')
    with pytest.raises(SagaError, match='one of the images themselves'):
        OutputNames(source, source, inputs=[source / 'b.jpg', source / 'b.png']).path_for(source / 'b.png')


def test_many_pictures_take_no_longer_each(tmp_path, monkeypatch):
    tried, make = [], Path.with_name
    monkeypatch.setattr(Path, 'with_name', lambda path, name: tried.append(name) or make(path, name))
    names = OutputNames(tmp_path / 'out', tmp_path)
    for index in range(100):
        names.path_for(tmp_path / f'{index}.png')
    assert len(tried) <= 200


def test_never_outside(folders):
    source, out = folders
    out.mkdir()
    (out / 'sub').symlink_to(source)
    with pytest.raises(SagaError, match='leads out of'):
        OutputNames(out, source).path_for(source / 'sub' / 'a.png')


def test_names_that_some_disks_take_for_equal(tmp_path):
    names = OutputNames(tmp_path / 'out', tmp_path)
    made = [names.path_for(tmp_path / name).name for name in ('a.png', 'A.jpg', 'fu\u0308r.png', 'f\u00fcr.jpg')]
    assert made == ['a.jpg', 'A_jpg.jpg', 'fu\u0308r.jpg', 'f\u00fcr_jpg.jpg']
