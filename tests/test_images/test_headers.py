"""What a picture's file says before it is decoded."""

import numpy as np
import pytest
from PIL import Image

from saga_mm.images.headers import leaves_folder, orientation, reason_of, require_whole, shown_size


@pytest.mark.parametrize('name', ['a.png', 'a/b.png', 'a/../b.png', './a.png', '..a/b.png'])
def test_names_inside_a_folder(name):
    assert not leaves_folder(name)


@pytest.mark.parametrize('name', ['/a.png', '../a.png', 'a/../../b.png', 'C:\\a.png', '\\\\host\\a.png', 'a\0.png'])
def test_names_that_leave_a_folder(name):
    assert leaves_folder(name)


@pytest.fixture
def save(tmp_path):
    def save(name, mode='RGB', **options):
        noise = np.random.default_rng(0).integers(0, 255, (40, 60, 3), dtype=np.uint8)
        Image.fromarray(noise).convert(mode).save(tmp_path / name, **options)
        return str(tmp_path / name)

    return save


@pytest.mark.parametrize(('tag', 'size'), [(1, (60, 40)), (3, (60, 40)), (6, (40, 60)), (8, (40, 60))])
def test_the_size_is_that_of_the_upright_picture(save, tag, size):
    exif = Image.Exif()
    exif[0x0112] = tag
    path = save('a.jpg', exif=exif)
    with Image.open(path) as image:
        assert orientation(image) == tag and shown_size(image, path) == size
        assert shown_size(image, path, ignore_orientation=True) == (60, 40)


@pytest.mark.parametrize('full', [True, False])
@pytest.mark.parametrize('name', ['a.jpg', 'a.png', 'a.bmp', 'a.tif'])
def test_whole_files_pass_and_cut_ones_do_not(save, name, full, tmp_path):
    path = save(name)
    with Image.open(path) as image:
        require_whole(image, path, full)
    if name in ('a.jpg', 'a.png') or full:
        content = (tmp_path / name).read_bytes()
        (tmp_path / name).write_bytes(content[: len(content) // 2])
        with pytest.raises((ValueError, OSError)), Image.open(path) as image:
            require_whole(image, path, full)


def test_what_training_cannot_load_is_refused(save):
    path = save('a.tif', 'F')
    with Image.open(path) as image, pytest.raises(ValueError, match='save it in 8 bits'):
        require_whole(image, path, False)


def test_a_library_is_quoted_in_short():
    assert reason_of(OSError('cannot read /x/a.png:\n  bad\tdata'), '/x/a.png') == 'cannot read it: bad data'
    assert reason_of(KeyError(), 'a') == 'KeyError' and len(reason_of(ValueError('x' * 999), 'a')) == 120
