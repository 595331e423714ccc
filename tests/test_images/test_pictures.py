from pathlib import Path

import cv2
import mmcv
import numpy as np
import pytest
from PIL import EpsImagePlugin, Image, UnidentifiedImageError

from saga_mm.datasets.checks.images import ListedImage, check_images
from saga_mm.datasets.checks.masks import MaskError, open_mask
from saga_mm.datasets.checks.problems import Problems
from saga_mm.errors import SagaError
from saga_mm.images.kind import photo_size
from saga_mm.images.large import open_rows
from saga_mm.images.photo import read_photo
from saga_mm.images.picture_folders import find_images
from saga_mm.images.pictures import from_deep, read_picture, refuse_programs

PROGRAM = b"""%!PS-Adobe-3.0 EPSF-3.0
%%BoundingBox: 0 0 20 20
%%EndComments
{} loop
"""


@pytest.fixture
def program(tmp_path, monkeypatch) -> Path:
    """A PostScript program that has the name of a picture; to run it is an error."""

    def run(*_: object, **__: object) -> None:
        raise AssertionError('Ghostscript was called')

    monkeypatch.setattr(EpsImagePlugin, 'Ghostscript', run)
    # another test of this process may have taken it out
    Image.init()
    monkeypatch.setattr(Image, 'ID', list(Image.ID))
    monkeypatch.setattr(Image, 'OPEN', dict(Image.OPEN))
    Image.register_open('EPS', EpsImagePlugin.EpsImageFile, EpsImagePlugin._accept)
    (tmp_path / 'photo.png').write_bytes(PROGRAM)
    # Pillow takes it for a picture, which it makes by running it
    with Image.open(tmp_path / 'photo.png') as image, pytest.raises(AssertionError, match='was called'):
        image.load()
    return tmp_path / 'photo.png'


@pytest.mark.parametrize('read', [read_picture, read_photo, photo_size, open_rows])
def test_a_program_is_no_picture(program, read):
    with pytest.raises(SagaError, match=r'photo\.png: '):
        read(program)


def test_checks_of_data_do_not_run_programs(program):
    problems = Problems('data')
    check_images(program.parent, [ListedImage('photo.png', 20, 20)], problems, decode=True)
    assert 'unreadable image' in '\n'.join(problems.lines())
    with pytest.raises(MaskError, match='unreadable mask'):
        open_mask(str(program))


def test_tools_keep_the_stack_from_running_programs(program, monkeypatch):
    Image.init()
    monkeypatch.setattr(Image, 'OPEN', Image.OPEN.copy())
    monkeypatch.setattr(Image, 'ID', Image.ID.copy())
    refuse_programs()
    refuse_programs()
    with pytest.raises(UnidentifiedImageError):
        mmcv.imfrombytes(program.read_bytes(), backend='pillow')
    assert 'EPS' not in Image.ID and 'PNG' in Image.ID


@pytest.fixture
def picture() -> np.ndarray:
    """24 by 40, red growing downwards, green to the right."""
    rows, columns = np.mgrid[:24, :40]
    return np.stack([rows * 10, columns * 6, np.full_like(rows, 50)], axis=-1).astype(np.uint8)


@pytest.mark.parametrize('mode', ['RGB', 'RGBA', 'L', 'LA', '1', 'P', 'CMYK', 'YCbCr', 'I', 'F'])
def test_every_kind_becomes_rgb(tmp_path, picture, mode):
    suffix = {'CMYK': 'jpg', 'YCbCr': 'jpg', 'F': 'tif', 'I': 'tif'}.get(mode, 'png')
    Image.fromarray(picture).convert(mode).save(tmp_path / f'a.{suffix}')
    read = read_picture(tmp_path / f'a.{suffix}')
    assert read.shape == (24, 40, 3) and read.dtype == np.uint8
    expected = np.asarray(Image.fromarray(picture).convert(mode if mode in ('L', '1', 'P') else 'RGB').convert('RGB'))
    if mode in ('LA', 'I', 'F'):
        expected = np.asarray(Image.fromarray(picture).convert('L').convert('RGB'))
    assert np.abs(read.astype(int) - expected).mean() < (12 if suffix == 'jpg' else 1)


def test_16_bits_keep_their_upper_half(tmp_path, picture):
    deep = picture.astype(np.uint16) * 257
    Image.fromarray(deep[..., 0]).save(tmp_path / 'grey.png')
    assert np.array_equal(read_picture(tmp_path / 'grey.png')[..., 1], picture[..., 0])
    for name in ('colour.png', 'colour.tif'):
        cv2.imwrite(str(tmp_path / name), deep[..., ::-1])
        assert np.array_equal(read_picture(tmp_path / name), picture), name


def test_turned_upright(tmp_path, picture):
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.fromarray(picture).save(tmp_path / 'a.jpg', exif=exif, quality=95)
    read = read_picture(tmp_path / 'a.jpg')
    assert read.shape == (40, 24, 3)
    assert np.abs(read.astype(int) - np.rot90(picture, -1)).mean() < 5


def test_first_of_an_animation(tmp_path, picture):
    frames = [Image.fromarray(picture), Image.fromarray(255 - picture)]
    frames[0].save(tmp_path / 'a.gif', save_all=True, append_images=frames[1:])
    assert np.abs(read_picture(tmp_path / 'a.gif').astype(int) - picture).mean() < 10


def test_broken_files(tmp_path, picture):
    Image.fromarray(picture).save(tmp_path / 'whole.jpg')
    data = (tmp_path / 'whole.jpg').read_bytes()
    (tmp_path / 'cut.jpg').write_bytes(data[: len(data) // 2])
    (tmp_path / 'empty.png').write_bytes(b'')
    (tmp_path / 'text.png').write_text('no picture')
    for name, words in {'cut.jpg': 'cannot be read', 'empty.png': '0 bytes', 'text.png': 'not a picture'}.items():
        with pytest.raises(SagaError, match=words) as caught:
            read_picture(tmp_path / name)
        assert name in str(caught.value) and '\n' not in str(caught.value)


def test_find(tmp_path):
    for name in ('b.JPG', 'a.png', 'notes.txt', '.hidden.png', 'sub/c.webp', 'out/d.png', '.git/e.png', '@eaDir/f.png'):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes(b'x')
    found = [str(path.relative_to(tmp_path)) for path in find_images(tmp_path, leave_out=tmp_path / 'out')]
    assert found == ['a.png', 'b.JPG', 'sub/c.webp']
    assert find_images(tmp_path / 'notes.txt') == [tmp_path / 'notes.txt']
    (tmp_path / 'none').mkdir()
    with pytest.raises(SagaError, match='has no pictures in it'):
        find_images(tmp_path / 'none')
    with pytest.raises(SagaError, match='no such picture or folder'):
        find_images(tmp_path / 'gone')


@pytest.mark.parametrize('planar', ['contig', 'separate'])
@pytest.mark.parametrize('bands', [3, 4, 5, 12])
@pytest.mark.parametrize('kind', [np.uint8, np.uint16])
def test_bands_of_a_geotiff_without_meaning(tmp_path, planar, bands, kind, capfd):
    tifffile = pytest.importorskip('tifffile')
    values = np.random.default_rng(0).integers(0, np.iinfo(kind).max, (70, 41, bands)).astype(kind)
    stored = values if planar == 'contig' else values.transpose(2, 0, 1)
    path = tmp_path / 'a.tif'
    tifffile.imwrite(path, stored, photometric='minisblack', planarconfig=planar, metadata=None)
    expected = values[..., :3] >> (8 if kind is np.uint16 else 0)
    assert np.array_equal(read_picture(path), expected)
    with open_rows(path) as rows:
        found = np.concatenate([rows.read(0, 30), rows.read(30, 70)])[..., ::-1]
    assert np.array_equal(found, expected)
    assert capfd.readouterr() == ('', '')


@pytest.mark.parametrize(
    ('values', 'wanted'),
    [
        (np.array([[0, 0.5, 1]], np.float32), [0, 128, 255]),
        (np.array([[0, 0.5, np.inf, np.nan, -3]], np.float32), [0, 128, 128, 0, 0]),
        (np.array([[0, 1, 200]], np.float32), [0, 1, 200]),
        (np.array([[0, 257, 65535]], np.float32), [0, 1, 255]),
        (np.array([[0, 1e6]], np.float64), [0, 255]),
        (np.array([[0, 1]], np.uint16), [0, 1]),
    ],
)
def test_deep_values_as_8_bits(values, wanted):
    assert from_deep(values)[0, :, 0].tolist() == wanted


def test_colours_in_floating_point_keep_their_proportions(tmp_path):
    tifffile = pytest.importorskip('tifffile')
    pixels = np.random.default_rng(0).random((9, 7, 3)).astype(np.float32)
    tifffile.imwrite(tmp_path / 'unit.tif', pixels, photometric='rgb')
    assert np.array_equal(read_picture(tmp_path / 'unit.tif'), (pixels.astype(np.float64) * 255).round())
    # one band is above what 8 bits hold, and the others are scaled as it is
    pixels *= np.array([100, 200, 3000], np.float32)
    tifffile.imwrite(tmp_path / 'deep.tif', pixels, photometric='rgb')
    assert np.array_equal(read_picture(tmp_path / 'deep.tif'), (pixels.astype(np.float64) / 257).round())


def test_logarithmic_colours_are_refused_with_the_cure(tmp_path):
    pixels = np.random.default_rng(0).random((9, 7, 3)).astype(np.float32)
    cv2.imwrite(str(tmp_path / 'log.tif'), pixels)
    for read in (read_picture, read_photo):
        with pytest.raises(SagaError, match='LogLuv'):
            read(tmp_path / 'log.tif')
    cv2.imwrite(str(tmp_path / 'plain.tif'), pixels, [cv2.IMWRITE_TIFF_COMPRESSION, 1])
    photo = read_photo(tmp_path / 'plain.tif')
    assert photo.kind.depth == 32 and np.array_equal(photo.pixels, pixels[..., ::-1])
