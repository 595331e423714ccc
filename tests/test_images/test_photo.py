import io
import os
import signal
import struct
import subprocess
import sys
import threading
import zlib
from contextlib import suppress
from dataclasses import replace

import cv2
import numpy as np
import OpenImageIO as oiio
import pytest
from PIL import ExifTags, Image, ImageCms

from saga_mm.errors import SagaError
from saga_mm.images.kind import PhotoKind, jpeg_quality, photo_size, read_kind
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
MAKER, EXPOSURE, NOTE, EXIF_WIDTH, EXIF_HEIGHT = 271, 33434, 37500, 40962, 40963
EXIF_IFD, GPS_IFD = 0x8769, 0x8825
TYPES = {'uint8': oiio.UINT8, 'uint16': oiio.UINT16, 'float32': oiio.FLOAT}


@pytest.fixture(scope='module')
def picture() -> np.ndarray:
    """Waves and noise, ``(H, W, 4)`` uint8."""
    y, x = np.mgrid[:HEIGHT, :WIDTH]
    noise = np.random.default_rng(0).normal(0, 12, (4, HEIGHT, WIDTH))
    waves = [110 + 60 * np.sin(x / (9 + 7 * c)) + 40 * np.cos(y / (7 + 5 * c)) + noise[c] for c in range(4)]
    return np.stack(waves, axis=-1).clip(0, 255).astype(np.uint8)


@pytest.fixture(scope='module')
def deep() -> np.ndarray:
    return np.random.default_rng(1).integers(0, 65536, (HEIGHT, WIDTH, 4)).astype(np.uint16)


@pytest.fixture(scope='module')
def icc() -> bytes:
    return ImageCms.ImageCmsProfile(ImageCms.createProfile('sRGB')).tobytes()


def exif_of(orientation: int = 1) -> bytes:
    exif = Image.Exif()
    exif[MAKER], exif[ORIENTATION] = 'Maker', orientation
    exif[EXIF_IFD] = {EXPOSURE: (1, 30), NOTE: b'note\0\1\2', EXIF_WIDTH: WIDTH, EXIF_HEIGHT: HEIGHT}
    exif[GPS_IFD] = {1: 'N', 2: (47.0, 22.0, 8.5)}
    return exif.tobytes()


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
def test_turned_once(tmp_path, picture, orientation, suffix):
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
def test_turned_tiff_of_every_decoder(tmp_path, picture, mode):
    plain, turned = tmp_path / 'plain.tif', tmp_path / 'turned.tif'
    image = Image.frombytes('LAB', (WIDTH, HEIGHT), picture[..., :3].tobytes()) if mode == 'LAB' else None
    image = image or in_mode(picture, mode)
    image.save(plain)
    image.save(turned, exif=exif_of(6))
    assert np.array_equal(read_photo(turned).pixels, np.rot90(read_photo(plain).pixels, -1))


@pytest.mark.parametrize('source', ['jpg', 'png', 'tif', 'webp'])
@pytest.mark.parametrize('target', ['jpg', 'png', 'tif', 'webp'])
def test_exif_and_profile_are_kept(tmp_path, picture, icc, source, target):
    path, out = tmp_path / f'a.{source}', tmp_path / f'b.{target}'
    Image.fromarray(picture[..., :3]).save(path, exif=exif_of(), icc_profile=icc)
    photo = read_photo(path)
    write_photo(out, photo, photo.pixels)
    with Image.open(out) as image, Image.open(path) as before:
        assert image.info['icc_profile'] == icc
        for directory in (EXIF_IFD, GPS_IFD):
            assert dict(image.getexif().get_ifd(directory)) == dict(before.getexif().get_ifd(directory)) != {}
        assert image.getexif()[MAKER] == 'Maker'
        if source in ('jpg', 'png') and target == source:
            assert image.info['exif'] == before.info['exif']
        # nothing of what the encoder would say by itself
        assert not {'srgb', 'gamma', 'chromaticity', 'xmp'} & set(image.info)


@pytest.mark.parametrize('big', [False, True])
@pytest.mark.parametrize('compression', ['raw', 'tiff_lzw', 'tiff_adobe_deflate'])
def test_tiff_of_any_size_and_compression(tmp_path, picture, icc, monkeypatch, big, compression):
    if big:
        monkeypatch.setattr('saga_mm.images.photo_writer.PLAIN_TIFF', 0)
    path = tmp_path / 'a.tif'
    Image.fromarray(picture).save(path, compression=compression)
    photo = read_photo(path)
    photo.kind = replace(photo.kind, exif=exif_of().removeprefix(b'Exif\0\0'), icc=icc)
    write_photo(tmp_path / 'b.tif', photo, photo.pixels)
    assert (tmp_path / 'b.tif').read_bytes()[:4] == (b'II+\0' if big else b'II*\0')
    with Image.open(tmp_path / 'b.tif') as image:
        assert np.array_equal(np.asarray(image), picture) and image.info['icc_profile'] == icc
        assert image.info['compression'] == compression
        assert image.getexif()[MAKER] == 'Maker'
        inner = image.getexif().get_ifd(EXIF_IFD)
        assert inner[EXPOSURE] == (1, 30) and inner[NOTE] == b'note\0\1\2'
        assert image.getexif().get_ifd(GPS_IFD)[2] == (47.0, 22.0, 8.5)
    # another library finds them as well
    spec = oiio.ImageInput.open(str(tmp_path / 'b.tif')).spec()
    assert spec.getattribute('Make') == 'Maker'
    assert np.allclose(spec.getattribute('GPS:Latitude'), (47.0, 22.0, 8.5))


def test_long_profile_in_a_jpeg(tmp_path, picture, icc):
    long = icc + np.random.default_rng(2).bytes(150_000)
    Image.fromarray(picture[..., :3]).save(tmp_path / 'a.jpg', icc_profile=long)
    photo = read_photo(tmp_path / 'a.jpg')
    write_photo(tmp_path / 'b.jpg', photo, photo.pixels)
    with Image.open(tmp_path / 'b.jpg') as image:
        assert image.info['icc_profile'] == long


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


def test_thumbnail_is_cut_loose_and_damaged_exif_is_left_out(tmp_path, picture):
    thumbnail = io.BytesIO()
    Image.fromarray(picture[:20, :20, :3]).save(thumbnail, 'JPEG')
    data = thumbnail.getvalue()
    # two directories of one and two entries: orientation, and where the thumbnail is
    head = struct.pack('>2sHI', b'MM', 42, 8) + struct.pack('>HHHIHHI', 1, ORIENTATION, 3, 1, 8, 0, 26)
    second = struct.pack('>HHHIIHHIII', 2, 513, 4, 1, 56, 514, 4, 1, len(data), 0)
    path = tmp_path / 'a.jpg'
    Image.fromarray(picture[..., :3]).save(path, exif=b'Exif\0\0' + head + second + data)
    with Image.open(path) as image:
        assert image.getexif().get_ifd(ExifTags.IFD.IFD1)
    photo = read_photo(path)
    write_photo(tmp_path / 'b.jpg', photo, photo.pixels)
    with Image.open(tmp_path / 'b.jpg') as image:
        assert image.getexif()[ORIENTATION] == 1 and not image.getexif().get_ifd(ExifTags.IFD.IFD1)
    Image.fromarray(picture[..., :3]).save(path, exif=b'Exif\0\0' + head[:12])
    assert read_photo(path).kind.exif == b''


@pytest.mark.parametrize('quality', [30, 60, 77, 90, 95, 100])
@pytest.mark.parametrize('subsampling', ['4:4:4', '4:2:2', '4:2:0'])
def test_quality_of_a_jpeg_is_kept(tmp_path, picture, quality, subsampling):
    path = tmp_path / 'a.jpg'
    Image.fromarray(picture[..., :3]).save(path, quality=quality, subsampling=subsampling)
    photo = read_photo(path)
    assert (photo.kind.quality, photo.kind.subsampling) == (quality, subsampling)
    write_photo(tmp_path / 'b.jpg', photo, photo.pixels)
    with Image.open(tmp_path / 'b.jpg') as image, Image.open(path) as before:
        assert image.quantization == before.quantization
    assert read_photo(tmp_path / 'b.jpg').kind.subsampling == subsampling


def test_quality_of_unknown_tables():
    assert jpeg_quality({0: [1] * 64}) == 100
    assert 40 < jpeg_quality({0: [60] * 64, 1: [99] * 64}) < 55
    assert jpeg_quality({0: [65535] * 64}) == 1


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


def test_rows_in_and_out(tmp_path, deep, picture):
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


def test_held_bytes(tmp_path, picture):
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


def test_size_of_a_huge_picture_before_it_is_decoded(tmp_path):
    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack('>I', len(data)) + kind + data + struct.pack('>I', zlib.crc32(kind + data))

    head = chunk(b'IHDR', struct.pack('>2I5B', 30000, 30000, 8, 2, 0, 0, 0))
    few = chunk(b'IDAT', zlib.compress(bytes(90001 * 3)))
    path = tmp_path / 'a.png'
    path.write_bytes(b'\x89PNG\r\n\x1a\n' + head + few)
    assert photo_size(path) == (30000, 30000)
    with pytest.raises(SagaError, match=r'a\.png: cannot be read as a picture'):
        read_photo(path)


@pytest.mark.parametrize('suffix', ['jpg', 'png', 'tif', 'webp', 'bmp'])
def test_one_pixel(tmp_path, suffix):
    Image.new('RGB', (1, 1), (10, 200, 30)).save(tmp_path / f'a.{suffix}')
    photo = read_photo(tmp_path / f'a.{suffix}')
    assert photo.pixels.shape == (1, 1, 3)
    write_photo(tmp_path / f'b.{suffix}', photo, photo.pixels)
    assert np.abs(read_photo(tmp_path / f'b.{suffix}').pixels - photo.pixels).max() < 0.03


def test_several_pictures_in_a_file(tmp_path, picture):
    first, second = Image.fromarray(picture[..., :3]), Image.fromarray(255 - picture[..., :3])
    for name in ('a.gif', 'a.png', 'a.webp', 'a.tif'):
        first.save(tmp_path / name, save_all=True, append_images=[second])
        with pytest.raises(SagaError, match=rf'{name}: holds 2 p'):
            read_photo(tmp_path / name)
        with pytest.raises(SagaError, match=rf'{name}: holds 2 p'):
            photo_size(tmp_path / name)
    # of a camera, with a second picture for screens
    first.save(tmp_path / 'a.jpg', format='MPO', save_all=True, append_images=[second])
    photo = read_photo(tmp_path / 'a.jpg')
    assert photo.kind.format == 'JPEG' and np.abs(photo.pixels * 255 - picture[..., :3]).mean() < 10


def test_smaller_copy_in_a_tiff(tmp_path, picture):
    small = Image.fromarray(picture[:20, :20, :3])
    small.encoderinfo = {'tiffinfo': {254: 1}}
    Image.fromarray(picture[..., :3]).save(tmp_path / 'a.tif', save_all=True, append_images=[small])
    assert np.array_equal((read_photo(tmp_path / 'a.tif').pixels * 255).round(), picture[..., :3])


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


def test_bad_outputs(tmp_path, picture):
    photo = Photo(picture[..., :3] / np.float32(255), None, PhotoKind(HEIGHT, WIDTH))
    (tmp_path / 'file').touch()
    for name in ('file/a.png', 'file/a.webp', 'file/a.tif'):
        with pytest.raises(SagaError, match='could not be written'):
            write_photo(tmp_path / name, photo, photo.pixels)
    with pytest.raises(SagaError, match=r'a\.xyz: photographs are written as'):
        write_photo(tmp_path / 'a.xyz', photo, photo.pixels)
    with pytest.raises(SagaError, match='too many for JPEG'):
        open_photo_writer(tmp_path / 'a.jpg', Photo(photo.pixels, None, PhotoKind(10, 70000)))
    with pytest.raises(ValueError):
        write_photo(tmp_path / 'a.png', photo, photo.pixels[1:])
    assert sorted(file.name for file in tmp_path.iterdir()) == ['file']


@pytest.mark.parametrize('name', ['a.jpg', 'a.png', 'a.tif', 'a.webp'])
def test_a_whole_file_or_the_one_before(tmp_path, picture, name):
    photo = Photo(picture[..., :3] / np.float32(255), None, PhotoKind(HEIGHT, WIDTH))
    path = tmp_path / name
    path.write_text('before')
    with suppress(KeyboardInterrupt), open_photo_writer(path, photo) as writer:
        writer.write(photo.pixels[:70])
        assert path.read_text() == 'before'
        raise KeyboardInterrupt
    assert path.read_text() == 'before' and len(list(tmp_path.iterdir())) == 1
    with pytest.raises(ValueError, match='closed after 70'), open_photo_writer(path, photo) as writer:
        writer.write(photo.pixels[:70])
    assert path.read_text() == 'before' and len(list(tmp_path.iterdir())) == 1
    write_photo(path, photo, photo.pixels)
    assert photo_size(path) == (HEIGHT, WIDTH)


WRITE_WITHIN = """
import os, resource, sys
from pathlib import Path
import numpy as np
from saga_mm.images.photo import read_photo
from saga_mm.images.photo_writer import write_photo
from saga_mm.errors import SagaError


def found(target, whole):
    if target.read_bytes() == b'before':
        return 'before'
    return 'whole' if np.array_equal(read_photo(target).pixels, whole) else 'half'


for source in map(Path, sys.argv[1:]):
    target = source.with_name(source.name[2:]) / source.name
    photo = read_photo(source)
    write_photo(target, photo, photo.pixels)
    whole, size = read_photo(target).pixels, target.stat().st_size
    for limit in (0, 1, 5000, size // 3, size * 9 // 10, size - 4097, size - 300, size - 1, size):
        target.write_bytes(b'before')
        child = os.fork()
        if child == 0:
            resource.setrlimit(resource.RLIMIT_FSIZE, (max(limit, 0),) * 2)
            try:
                write_photo(target, photo, photo.pixels)
            except SagaError as error:
                os._exit(3 if f'{target}: could not be written' in str(error) else 4)
            os._exit(0)
        status = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
        print(status, found(target, whole), len(os.listdir(target.parent)), source.name)
"""


def test_a_disk_that_is_full_at_any_place(tmp_path):
    """Nothing of it dies inside a library, claims to be done, or leaves a half file."""
    noise = Image.fromarray(np.random.default_rng(0).integers(0, 256, (150, 200, 3), dtype=np.uint8))
    names = ('a.jpg', 'a.png', 'a.tif', 'a.webp', 'a.bmp')
    for name in names:
        noise.save(tmp_path / name, **({} if name == 'a.bmp' else {'exif': exif_of()}))
    command = [sys.executable, '-c', WRITE_WITHIN, *(tmp_path / name for name in names)]
    run = subprocess.run(command, capture_output=True, text=True)
    assert run.stdout.splitlines() == [
        line for name in names for line in [*8 * [f'3 before 1 {name}'], f'0 whole 1 {name}']
    ], run.stderr


def test_an_encoder_that_is_interrupted_ends_its_thread(tmp_path, picture):
    photo = Photo(picture[..., :3] / np.float32(255), None, PhotoKind(HEIGHT, WIDTH))
    handles, threads = len(os.listdir('/dev/fd')), threading.active_count()
    for _ in range(5):
        writer = open_photo_writer(tmp_path / 'a.jpg', photo)
        writer.write(photo.pixels[:70])
        writer.discard()
    assert threading.active_count() <= threads and len(os.listdir('/dev/fd')) == handles and not os.listdir(tmp_path)


def test_a_forked_process_does_not_hold_up_an_encoder(tmp_path, picture):
    photo = Photo(picture[..., :3] / np.float32(255), None, PhotoKind(HEIGHT, WIDTH))
    with open_photo_writer(tmp_path / 'a.jpg', photo) as writer:
        writer.write(photo.pixels)
        child = os.fork()
        if child == 0:
            signal.pause()
    os.kill(child, signal.SIGKILL)
    os.waitpid(child, 0)
    assert photo_size(tmp_path / 'a.jpg') == (HEIGHT, WIDTH)


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


@pytest.mark.parametrize(('bits', 'told'), [(8, ''), (12, '12 bits became 8 bits'), (16, '16 bits became 8 bits')])
def test_bits_of_jpeg_2000_that_are_lost_are_told(bits, told, tmp_path):
    pixels = np.random.default_rng(0).integers(0, 2**bits, (64, 80, 3)).astype(np.uint8 if bits == 8 else np.uint16)
    cv2.imwrite(str(tmp_path / 'a.jp2'), pixels)
    # a file of 16 bits whose head says that there are fewer
    content = bytearray((tmp_path / 'a.jp2').read_bytes())
    place = content.index(b'\xff\x4f\xff\x51') + 42
    assert content[place] == (7 if bits == 8 else 15)
    content[place] = bits - 1
    (tmp_path / 'a.jp2').write_bytes(content)
    kind, _ = read_kind(tmp_path / 'a.jp2')
    assert (kind.bits, kind.depth) == (bits, 8)
    with open_photo_writer(tmp_path / 'b.jp2', Photo(np.zeros((64, 80, 3), np.float32), None, kind)) as writer:
        assert writer.lost == told
        writer.write(np.zeros((64, 80, 3), np.float32))


def test_what_a_format_cannot_hold_is_told(tmp_path):
    kind = PhotoKind(4, 6, 'TIFF', depth=32, alpha=True)
    photo = Photo(np.zeros((4, 6, 3), np.float32), np.ones((4, 6), np.float32), kind)
    for name, told in {
        'a.tif': '',
        'a.png': 'floating point became 16 bits',
        'a.jpg': 'floating point became 8 bits; transparency was laid on white',
    }.items():
        with open_photo_writer(tmp_path / name, photo) as writer:
            assert writer.lost == told
            writer.write(photo.pixels)


WITHOUT_PIPES = """
import sys
sys.modules['fcntl'] = sys.modules['termios'] = None
from saga_mm.images.photo import read_photo
from saga_mm.images.photo_writer import write_photo
import saga_mm.parallel.claims
photo = read_photo(sys.argv[1])
write_photo(sys.argv[2], photo, photo.pixels)
"""


def test_a_system_without_posix_writes_the_same_jpeg(tmp_path, picture, icc):
    source = tmp_path / 'a.jpg'
    Image.fromarray(picture[..., :3]).save(source, quality=90, icc_profile=icc)
    photo = read_photo(source)
    write_photo(tmp_path / 'here.jpg', photo, photo.pixels)
    subprocess.run([sys.executable, '-c', WITHOUT_PIPES, source, tmp_path / 'there.jpg'], check=True)
    assert (tmp_path / 'there.jpg').read_bytes() == (tmp_path / 'here.jpg').read_bytes()
