import os
from contextlib import suppress

import cv2
import numpy as np
import OpenImageIO as oiio
import pytest
from PIL import Image

from saga_mm.errors import SagaError
from saga_mm.images.kind import PhotoKind, photo_size
from saga_mm.images.large import open_rows
from saga_mm.images.photo import Photo, PhotoRows, read_photo
from saga_mm.images.photo_writer import open_photo_writer, write_photo
from saga_mm.images.pictures import read_picture

HEIGHT, WIDTH = 90, 131
MODES = {
    'jpg': ['L', 'RGB', 'CMYK'],
    'png': ['1', 'L', 'LA', 'P', 'RGB', 'RGBA'],
    'tif': ['1', 'L', 'LA', 'P', 'RGB', 'RGBA', 'CMYK'],
    'webp': ['RGB', 'RGBA'],
    'bmp': ['L', 'P', 'RGB'],
    'gif': ['P'],
    'ppm': ['RGB'],
    'pgm': ['L'],
    'jp2': ['RGB'],
}
KINDS = [(suffix, mode) for suffix, modes in MODES.items() for mode in modes]
ORIENTATION = 0x0112
MAKER, EXIF_WIDTH, EXIF_HEIGHT = 271, 40962, 40963
EXIF_IFD = 0x8769
TYPES = {'uint8': oiio.UINT8, 'uint16': oiio.UINT16, 'float32': oiio.FLOAT}


def in_mode(picture: np.ndarray, mode: str) -> Image.Image:
    if mode == 'CMYK':
        return Image.frombytes(mode, (WIDTH, HEIGHT), picture.tobytes())
    return Image.fromarray(picture).convert('RGBA' if 'A' in mode else 'RGB').convert(mode)


def save_deep(path, pixels: np.ndarray, **attributes) -> None:
    """A file that Pillow cannot write: colours of 16 bits or in floating point."""
    spec = oiio.ImageSpec(pixels.shape[1], pixels.shape[0], pixels.shape[2], TYPES[str(pixels.dtype)])
    if pixels.shape[2] in (2, 4):
        spec.alpha_channel = pixels.shape[2] - 1
    for name, value in {'oiio:UnassociatedAlpha': 1, **attributes}.items():
        spec.attribute(name, value)
    file = oiio.ImageOutput.create(str(path))
    assert file.open(str(path), spec) and file.write_image(pixels) and file.close(), file.geterror()


def stored(path) -> np.ndarray:
    settings = oiio.ImageSpec()
    settings.attribute('oiio:UnassociatedAlpha', 1)
    file = oiio.ImageInput.open(str(path), settings)
    return file.read_image(file.spec().format)


def rows_of(path, rows: int = 37) -> np.ndarray:
    with PhotoRows(path) as reader:
        return np.concatenate(
            [reader.read(start, min(start + rows, reader.height)) for start in range(0, reader.height, rows)]
        )


@pytest.mark.parametrize(('suffix', 'mode'), KINDS)
def test_values_are_those_of_pillow(tmp_path, picture, suffix, mode):
    path = tmp_path / f'a.{suffix}'
    in_mode(picture, mode).save(path)
    photo = read_photo(path)
    assert photo.pixels.dtype == np.float32 and photo_size(path) == photo.pixels.shape[:2] == (HEIGHT, WIDTH)
    assert np.array_equal((photo.pixels * 255).round(), read_picture(path))
    assert photo.kind.gray == (mode in ('1', 'L', 'LA')) and photo.kind.depth == 8
    assert (photo.alpha is not None) == photo.kind.alpha == mode.endswith('A')
    if photo.kind.alpha:
        with Image.open(path) as image:
            assert np.array_equal((photo.alpha * 255).round(), np.asarray(image.getchannel('A')))
    assert np.array_equal(rows_of(path), photo.pixels)


@pytest.mark.parametrize(('suffix', 'mode'), KINDS)
def test_written_as_it_came(tmp_path, picture, suffix, mode):
    path, target = tmp_path / f'a.{suffix}', tmp_path / 'deeper' / f'b.{suffix}'
    in_mode(picture, mode).save(path)
    photo = read_photo(path)
    write_photo(target, photo, photo.pixels)
    again = read_photo(target)
    assert (again.kind.gray, again.kind.alpha, again.kind.format) == (
        photo.kind.gray,
        photo.kind.alpha,
        photo.kind.format,
    )
    lossy = {'jpg': 0.03, 'webp': 0.03}.get(suffix, 0)
    assert np.abs(again.pixels - photo.pixels).mean() <= lossy
    assert photo.alpha is None or np.array_equal(again.alpha, photo.alpha)
    assert [file.name for file in target.parent.iterdir()] == [target.name]


@pytest.mark.parametrize('channels', [1, 2, 3, 4])
@pytest.mark.parametrize('suffix', ['png', 'tif'])
def test_16_bits(tmp_path, deep, suffix, channels):
    path, target = tmp_path / f'a.{suffix}', tmp_path / f'b.{suffix}'
    samples = np.ascontiguousarray(deep[..., :channels])
    save_deep(path, samples)
    photo = read_photo(path)
    assert photo.kind.depth == 16 and photo.kind.gray == (channels < 3) and photo.kind.alpha == (channels % 2 == 0)
    assert np.array_equal((photo.pixels[..., 0] * 65535).round(), samples[..., 0])
    assert np.array_equal(rows_of(path), photo.pixels)
    write_photo(target, photo, photo.pixels)
    assert stored(target).dtype == np.uint16 and np.array_equal(stored(target), stored(path))


def test_floating_point(tmp_path, deep):
    low = (deep / 65535).astype(np.float32)
    bright = low * 7 - 1
    bright[3, 4, 1], bright[5, 6, 2] = np.nan, np.inf
    for name, pixels in {'gray': low[..., :1], 'low': low[..., :3], 'alpha': low, 'bright': bright[..., :3]}.items():
        path, target = tmp_path / f'{name}.tif', tmp_path / f'{name}_out.tif'
        save_deep(path, np.ascontiguousarray(pixels))
        photo = read_photo(path)
        assert photo.kind.depth == 32 and photo.pixels.min() >= 0 and photo.pixels.max() <= 1
        scale = np.nanmax(pixels[np.isfinite(pixels)]) if name == 'bright' else 1
        expected = np.nan_to_num(pixels[..., :3], nan=0, posinf=scale).clip(0)
        assert photo.kind.scale == np.float32(scale)
        assert np.allclose(photo.pixels * photo.kind.scale, expected, atol=1e-6)
        write_photo(target, photo, photo.pixels)
        assert stored(target).dtype == np.float32
        assert np.allclose(stored(target)[..., :3], expected, atol=1e-6)
        write_photo(tmp_path / 'a.png', photo, photo.pixels)
        assert read_photo(tmp_path / 'a.png').kind.depth == 16


@pytest.mark.parametrize('orientation', range(1, 9))
@pytest.mark.parametrize('suffix', ['jpg', 'png', 'tif', 'webp'])
def test_turned_once(tmp_path, picture, orientation, suffix, exif_of):
    path, target = tmp_path / f'a.{suffix}', tmp_path / f'b.{suffix}'
    Image.fromarray(picture[..., :3]).save(path, exif=exif_of(orientation))
    photo = read_photo(path)
    assert np.array_equal((photo.pixels * 255).round(), read_picture(path))
    assert photo_size(path) == photo.pixels.shape[:2] == ((WIDTH, HEIGHT) if orientation > 4 else (HEIGHT, WIDTH))
    assert np.array_equal(rows_of(path), photo.pixels)
    write_photo(target, photo, photo.pixels)
    with Image.open(target) as image:
        assert image.size == photo.pixels.shape[1::-1]
        exif = image.getexif()
        assert exif[ORIENTATION] == 1 and exif[MAKER] == 'Maker'
        inner = exif.get_ifd(EXIF_IFD)
        assert (inner[EXIF_WIDTH], inner[EXIF_HEIGHT]) == image.size
    assert np.abs(read_photo(target).pixels - photo.pixels).mean() < 0.03


@pytest.mark.parametrize('orientation', [2, 6])
def test_turned_with_alpha_and_16_bits(tmp_path, deep, orientation):
    path = tmp_path / 'a.tif'
    save_deep(path, deep, Orientation=orientation)
    photo = read_photo(path)
    expected = np.rot90(deep, -1) if orientation == 6 else deep[:, ::-1]
    assert np.array_equal((photo.alpha * 65535).round(), expected[..., 3])
    assert np.array_equal((photo.pixels * 65535).round(), expected[..., :3])


@pytest.mark.parametrize('mode', ['P', 'CMYK', 'LAB', 'L'])
def test_turned_tiff_of_every_decoder(tmp_path, picture, mode, exif_of):
    plain, turned = tmp_path / 'plain.tif', tmp_path / 'turned.tif'
    image = Image.frombytes('LAB', (WIDTH, HEIGHT), picture[..., :3].tobytes()) if mode == 'LAB' else None
    image = image or in_mode(picture, mode)
    image.save(plain)
    image.save(turned, exif=exif_of(6))
    assert np.array_equal(read_photo(turned).pixels, np.rot90(read_photo(plain).pixels, -1))


def test_profile_that_no_longer_fits_is_left_out(tmp_path, picture, icc):
    gray = icc[:16] + b'GRAY' + icc[20:]
    in_mode(picture, 'L').save(tmp_path / 'a.png', icc_profile=gray)
    photo = read_photo(tmp_path / 'a.png')
    for name, kept in {'b.png': True, 'b.webp': False}.items():
        write_photo(tmp_path / name, photo, photo.pixels)
        with Image.open(tmp_path / name) as image:
            assert ('icc_profile' in image.info) == kept
    in_mode(picture, 'CMYK').save(tmp_path / 'a.jpg', icc_profile=icc[:16] + b'CMYK' + icc[20:])
    assert read_photo(tmp_path / 'a.jpg').kind.icc == b''


def test_gray_is_written_as_the_luma_of_the_answer(tmp_path, picture):
    in_mode(picture, 'L').save(tmp_path / 'a.png')
    photo = read_photo(tmp_path / 'a.png')
    write_photo(tmp_path / 'b.png', photo, picture[..., :3] / np.float32(255))
    with Image.open(tmp_path / 'b.png') as image:
        assert image.mode == 'L'
        expected = Image.fromarray(picture[..., :3]).convert('L')
        assert np.abs(np.asarray(image).astype(int) - np.asarray(expected)).max() <= 1


def test_a_format_that_holds_less(tmp_path, deep):
    save_deep(tmp_path / 'a.png', deep)
    photo = read_photo(tmp_path / 'a.png')
    write_photo(tmp_path / 'b.jpg', photo, photo.pixels)
    out = read_photo(tmp_path / 'b.jpg')
    assert (out.kind.format, out.kind.depth, out.kind.alpha, out.kind.quality) == ('JPEG', 8, False, 95)
    on_white = photo.pixels * photo.alpha[..., None] + 1 - photo.alpha[..., None]
    # noise from pixel to pixel is what JPEG keeps worst
    assert np.abs(out.pixels - on_white).mean() < 0.03 and abs(out.pixels.mean() - on_white.mean()) < 1e-3
    write_photo(tmp_path / 'b.webp', photo, photo.pixels)
    assert np.abs(read_photo(tmp_path / 'b.webp').alpha - photo.alpha).max() <= 1 / 255
    write_photo(tmp_path / 'without_ending', photo, photo.pixels)
    with Image.open(tmp_path / 'without_ending') as image:
        assert image.format == 'PNG'


def test_what_is_out_of_range_is_clipped(tmp_path, picture):
    Image.fromarray(picture[..., :3]).save(tmp_path / 'a.png')
    photo = read_photo(tmp_path / 'a.png')
    pixels = photo.pixels.copy()
    pixels[0, 0], pixels[0, 1] = (-3, 5, np.nan), (np.inf, -np.inf, 0.5)
    write_photo(tmp_path / 'b.png', photo, pixels)
    assert stored(tmp_path / 'b.png')[0, :2].tolist() == [[0, 255, 0], [255, 0, 128]]


def test_rows_in_and_out(tmp_path, deep, picture, exif_of):
    """A window at a time gives the file that the whole photograph gives, opacity and all."""
    save_deep(tmp_path / 'a.png', deep)
    save_deep(tmp_path / 'a.tif', deep)
    Image.fromarray(picture[..., :3]).save(tmp_path / 'a.jpg', exif=exif_of(), progressive=True)
    for name in ('a.png', 'a.tif', 'a.jpg'):
        photo = read_photo(tmp_path / name)
        write_photo(tmp_path / f'whole_{name}', photo, photo.pixels)
        with PhotoRows(tmp_path / name) as rows, open_photo_writer(tmp_path / f'rows_{name}', rows) as writer:
            for start in range(0, HEIGHT, 20):
                # some rows above and below, as strips need them
                top, stop = max(start - 9, 0), min(start + 20, HEIGHT)
                writer.write(rows.read(top, min(stop + 9, HEIGHT))[start - top : stop - top])
        assert np.array_equal(stored(tmp_path / f'rows_{name}'), stored(tmp_path / f'whole_{name}'))


def test_held_bytes(tmp_path, picture, exif_of):
    tall = np.concatenate([picture[..., :3]] * 10)
    image = Image.fromarray(tall)
    for name in ('a.jpg', 'a.png', 'a.tif'):
        image.save(tmp_path / name)
        image.save(tmp_path / f'turned_{name}', exif=exif_of(6))
        with PhotoRows(tmp_path / name) as flat, PhotoRows(tmp_path / f'turned_{name}') as turned:
            assert flat.held_bytes < tall.nbytes <= turned.held_bytes
    image.save(tmp_path / 'a.webp')
    with PhotoRows(tmp_path / 'a.webp') as rows:
        # what Pillow holds while it decodes
        assert rows.held_bytes > 4 * tall.nbytes


@pytest.mark.parametrize('suffix', ['jpg', 'png', 'tif', 'webp', 'bmp'])
def test_one_pixel(tmp_path, suffix):
    Image.new('RGB', (1, 1), (10, 200, 30)).save(tmp_path / f'a.{suffix}')
    photo = read_photo(tmp_path / f'a.{suffix}')
    assert photo.pixels.shape == (1, 1, 3)
    write_photo(tmp_path / f'b.{suffix}', photo, photo.pixels)
    assert np.abs(read_photo(tmp_path / f'b.{suffix}').pixels - photo.pixels).max() < 0.03


def test_bad_files(tmp_path, picture):
    image = Image.fromarray(picture[..., :3])
    for suffix in ('jpg', 'png', 'tif', 'webp', 'bmp', 'gif', 'jp2'):
        path = tmp_path / f'cut.{suffix}'
        image.save(path)
        data = path.read_bytes()
        path.write_bytes(data[: len(data) // 2])
        with pytest.raises(SagaError, match=rf'cut\.{suffix}: ') as caught:
            read_photo(path)
        assert '\n' not in str(caught.value)
    (tmp_path / 'empty.jpg').touch()
    (tmp_path / 'text.png').write_text('no picture')
    (tmp_path / 'head.tif').write_bytes(b'II*\0')
    (tmp_path / 'raw.nef').write_bytes(b'II*\0')
    lines = {
        'empty.jpg': r'empty \(0 bytes\)',
        'text.png': 'not a picture',
        'head.tif': 'picture',
        'raw.nef': 'is a raw photograph, which is not read',
        'none.jpg': 'no such picture',
        '.': 'a folder',
    }
    for name, line in lines.items():
        with pytest.raises(SagaError, match=line):
            read_photo(tmp_path / name)
        with pytest.raises(SagaError, match=line):
            photo_size(tmp_path / name)


def test_opencv_reads_what_is_written(tmp_path, deep):
    for channels in (1, 3, 4):
        for suffix in ('png', 'tif'):
            path = tmp_path / f'{channels}.{suffix}'
            save_deep(tmp_path / f'a.{suffix}', np.ascontiguousarray(deep[..., :channels]))
            photo = read_photo(tmp_path / f'a.{suffix}')
            write_photo(path, photo, photo.pixels)
            read = cv2.imread(str(path), cv2.IMREAD_UNCHANGED)
            order = [0] if channels == 1 else [2, 1, 0, 3][:channels]
            assert np.array_equal(read.reshape(HEIGHT, WIDTH, channels)[..., order], deep[..., :channels])


def test_a_large_jpeg_that_is_broken_off_ends_at_once(tmp_path):
    # the rest of it, which OpenImageIO fills up, is more than a pipe holds
    pixels = np.random.default_rng(0).integers(0, 256, (1600, 1600, 3), dtype=np.uint8)
    photo = Photo(pixels, None, PhotoKind(1600, 1600))
    with suppress(RuntimeError), open_photo_writer(tmp_path / 'a.jpg', photo) as writer:
        writer.write(pixels[:100] / np.float32(255))
        raise RuntimeError('broken off')
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize('name', ['a.png', 'a.jpg', 'a.webp', 'a.tif', 'a.avif', 'rgba.png', 'palette.png'])
def test_grey_that_is_stored_in_colour(tmp_path, name):
    values = np.random.default_rng(0).integers(0, 60, (70, 41), np.uint8)
    grey = Image.fromarray(values)
    kind = {'rgba.png': 'RGBA', 'palette.png': 'P'}.get(name, 'RGB')
    grey.convert(kind).save(tmp_path / name)
    coloured = np.repeat(values[..., None], 3, axis=2)
    coloured[-1, -1] = (9, 30, 60)
    Image.fromarray(coloured).save(tmp_path / 'coloured.png')
    for path, expected in ((tmp_path / name, True), (tmp_path / 'coloured.png', False)):
        with PhotoRows(path) as rows:
            rows.read(0, 20)
            assert rows.is_grey is expected


@pytest.mark.parametrize('kind', ['png', 'jpg', 'tif'])
def test_a_name_that_is_no_utf8_is_read_and_written(tmp_path, kind):
    pixels = np.full((9, 7, 3), (40, 90, 140), np.uint8)
    Image.fromarray(pixels).save(tmp_path / f'a.{kind}')
    name = os.fsdecode(os.fsencode(tmp_path) + b'/bad\xff\xfe.' + kind.encode())
    os.rename(tmp_path / f'a.{kind}', name)
    photo = read_photo(name)
    with open_rows(name) as rows:
        assert rows.read(0, 9).shape == (9, 7, 3)
    write_photo(name, photo, photo.pixels)
    again = read_photo(name)
    assert np.allclose(again.pixels, photo.pixels, atol=0 if kind != 'jpg' else 0.01)
