import subprocess
import sys

import cv2
import numpy as np
import OpenImageIO as oiio
import pytest
from PIL import Image

from saga_mm.errors import SagaError
from saga_mm.images.large import RowReader, decoding_bytes, open_rows
from saga_mm.images.pictures import read_picture

HEIGHT, WIDTH = 150, 230
MODES = {
    'jpg': ['L', 'RGB', 'CMYK'],
    'png': ['1', 'L', 'LA', 'P', 'RGB', 'RGBA', 'I;16'],
    'tif': ['1', 'L', 'LA', 'P', 'RGB', 'RGBA', 'CMYK', 'I;16', 'I', 'F'],
    'lzw.tif': ['1', 'L', 'LA', 'P', 'RGB', 'RGBA', 'CMYK'],
}
MEMORY = """
import sys
from saga_mm.images.large import decoding_bytes, open_rows

def memory(kind):
    return next(int(line.split()[1]) / 1024 for line in open('/proc/self/status') if line.startswith(kind))

for path in sys.argv[1:]:
    with open_rows(path) as reader:
        reader.read(0, 16)
        before = memory('VmRSS')
        for start in range(0, reader.height, 250):
            reader.read(start, start + 250)
        print(round(memory('VmHWM') - before))
"""


@pytest.fixture(scope='module')
def picture() -> np.ndarray:
    """Waves and noise, RGB."""
    y, x = np.mgrid[:HEIGHT, :WIDTH]
    noise = np.random.default_rng(0).normal(0, 20, (3, HEIGHT, WIDTH))
    waves = [128 + 90 * np.sin(x / (9 + 7 * c)) + 50 * np.cos(y / (7 + 5 * c)) + noise[c] for c in range(3)]
    return np.stack(waves, axis=-1).clip(0, 255).astype(np.uint8)


@pytest.fixture(scope='module')
def deep() -> np.ndarray:
    return np.random.default_rng(1).integers(0, 65536, (HEIGHT, WIDTH, 4)).astype(np.uint16)


def strips(reader: RowReader, rows: int = 37, halo: int = 0) -> np.ndarray:
    """All rows, read from top to bottom with some more above and below."""
    parts = []
    for start in range(0, reader.height, rows):
        stop = min(start + rows, reader.height)
        above, below = max(start - halo, 0), min(stop + halo, reader.height)
        part = reader.read(above, below)
        assert part.shape == (below - above, reader.width, 3) and part.dtype == np.uint8
        parts.append(part[start - above : stop - above])
    return np.concatenate(parts)


def same(path, **options) -> bool:
    with open_rows(path) as reader:
        return np.array_equal(strips(reader, **options), read_picture(path)[..., ::-1])


def whole(path) -> bool:
    with open_rows(path) as reader:
        return reader.is_decoded


def save_tiles(path, pixels: np.ndarray, **attributes) -> None:
    height, width, channels = pixels.shape
    spec = oiio.ImageSpec(width, height, channels, oiio.UINT16 if pixels.dtype == np.uint16 else oiio.UINT8)
    spec.tile_width, spec.tile_height = 32, 48
    for name, value in attributes.items():
        spec.attribute(name, value)
    file = oiio.ImageOutput.create(str(path))
    assert file.open(str(path), spec) and file.write_image(pixels), file.geterror()
    file.close()


@pytest.mark.parametrize('sampling', ['4:4:4', '4:2:2', '4:2:0'])
@pytest.mark.parametrize('progressive', [False, True])
def test_jpeg(tmp_path, picture, sampling, progressive):
    Image.fromarray(picture).save(tmp_path / 'a.jpg', subsampling=sampling, progressive=progressive)
    assert same(tmp_path / 'a.jpg')
    with open_rows(tmp_path / 'a.jpg') as reader:
        assert (reader.held_bytes > HEIGHT * WIDTH * 6) == progressive


@pytest.mark.parametrize(('suffix', 'mode'), [(suffix, mode) for suffix, modes in MODES.items() for mode in modes])
def test_kinds(tmp_path, picture, deep, mode, suffix):
    if mode in ('I;16', 'I', 'F'):
        factor = {'I;16': np.uint16(1), 'I': np.int32(300), 'F': np.float32(0.37)}[mode]
        image = Image.fromarray(deep[..., 0] * factor - (500 if mode == 'F' else 0))
    elif mode == 'CMYK':
        image = Image.frombytes(mode, (WIDTH, HEIGHT), (deep >> 8).astype(np.uint8).tobytes())
    else:
        image = Image.fromarray(picture).convert('RGBA' if 'A' in mode else 'RGB')
        if 'A' in mode:
            image.putalpha(Image.fromarray(picture[..., 1]))
        image = image.convert(mode)
    assert image.mode == mode
    path = tmp_path / f'a.{suffix}'
    image.save(path, **({'compression': 'tiff_lzw'} if suffix == 'lzw.tif' else {}))
    assert same(path)
    assert whole(path) == (mode == 'P' and 'tif' in suffix)


def test_16_bits_of_a_small_range(tmp_path, deep):
    """Of a TIFF, values up to 255 are shown as they are: the range is that of all rows, not of those that are read."""
    low = deep[..., 0] // 300
    Image.fromarray(low).save(tmp_path / 'low.tif')
    Image.fromarray(low).save(tmp_path / 'low.png')
    low[-1, -1] = 60000
    Image.fromarray(low).save(tmp_path / 'high.tif')
    assert same(tmp_path / 'low.tif') and same(tmp_path / 'high.tif') and same(tmp_path / 'low.png')
    with open_rows(tmp_path / 'low.tif') as reader:
        assert np.array_equal(reader.read(3, 4)[..., 0], low[3:4])
    with open_rows(tmp_path / 'high.tif') as reader:
        assert reader.read(3, 4).max() == 1
    # a PNG has the upper 8 bits, as for training
    with open_rows(tmp_path / 'low.png') as reader:
        assert reader.read(3, 4).max() == 0


def test_16_bit_colours(tmp_path, deep):
    for name, pixels in {'a.png': deep[..., :3], 'alpha.png': deep, 'a.tif': deep[..., :3]}.items():
        cv2.imwrite(str(tmp_path / name), pixels)
        assert same(tmp_path / name), name


def test_png_of_few_bits_and_transparent_colours(tmp_path, picture):
    image = Image.fromarray(picture)
    for bits in (1, 2, 4):
        image.convert('P', palette=Image.Palette.ADAPTIVE, colors=2**bits).save(tmp_path / f'{bits}.png', bits=bits)
        assert same(tmp_path / f'{bits}.png'), bits
    for mode, colour in {'RGB': (1, 2, 3), 'L': 7, 'P': 5}.items():
        image.convert(mode).save(tmp_path / f'{mode}.png', transparency=colour)
        assert same(tmp_path / f'{mode}.png'), mode


def test_tiff_in_tiles_and_planes(tmp_path, picture, deep):
    save_tiles(tmp_path / 'a.tif', picture)
    save_tiles(tmp_path / 'deep.tif', np.ascontiguousarray(deep[..., :3]))
    save_tiles(tmp_path / 'planes.tif', picture, planarconfig='separate')
    save_tiles(tmp_path / 'jpeg.tif', picture, compression='jpeg')
    Image.fromarray(picture).save(tmp_path / 'big.tif', big_tiff=True)
    # 7 and 9 pixels from the corner of the page
    Image.fromarray(picture).save(tmp_path / 'page.tif', tiffinfo={282: 1.0, 283: 1.0, 286: 7.0, 287: 9.0})
    for path in tmp_path.iterdir():
        assert same(path) and not whole(path), path.name


def test_decoded_whole(tmp_path, picture):
    image = Image.fromarray(picture)
    for name, mode in {'a.bmp': 'RGB', 'a.webp': 'RGB', 'a.gif': 'P', 'lab.tif': 'LAB'}.items():
        image.convert(mode).save(tmp_path / name)
        assert same(tmp_path / name) and whole(tmp_path / name), name


def test_several_pictures_in_a_file(tmp_path, picture):
    for name, kind in {'a.jpg': 'MPO', 'a.tif': 'TIFF'}.items():
        first, second = Image.fromarray(picture), Image.fromarray(255 - picture)
        first.save(tmp_path / name, format=kind, save_all=True, append_images=[second])
        assert same(tmp_path / name) and not whole(tmp_path / name), name


@pytest.mark.parametrize('orientation', range(1, 9))
@pytest.mark.parametrize('suffix', ['jpg', 'png', 'tif'])
def test_turned_upright(tmp_path, picture, orientation, suffix):
    exif = Image.Exif()
    exif[0x0112] = orientation
    path = tmp_path / f'a.{suffix}'
    Image.fromarray(picture).save(path, exif=exif)
    with open_rows(path) as reader:
        shape = (WIDTH, HEIGHT) if orientation > 4 else (HEIGHT, WIDTH)
        assert (reader.height, reader.width) == shape
    assert same(path)
    assert whole(path) == (orientation > 2)


def test_grey_of_16_bits_turned_upright(tmp_path, deep):
    exif = Image.Exif()
    for orientation in (2, 6):
        exif[0x0112] = orientation
        Image.fromarray(deep[..., 0]).save(tmp_path / 'a.png', exif=exif)
        assert same(tmp_path / 'a.png')


@pytest.mark.parametrize('suffix', ['jpg', 'png', 'tif', 'tiles.tif'])
def test_each_row_is_decoded_once(tmp_path, picture, suffix):
    tall = np.concatenate([picture] * 4)
    path = tmp_path / f'a.{suffix}'
    save_tiles(path, tall) if suffix == 'tiles.tif' else Image.fromarray(tall).save(path)
    expected = read_picture(path)[..., ::-1]
    with open_rows(path) as reader:
        decode, decoded = reader._decode, []

        def spy(index: int) -> np.ndarray:
            samples = decode(index)
            decoded.append(len(samples))
            return samples

        reader._decode = spy
        for rows, halo in ((100, 16), (37, 0), (7, 3), (100, 32), (len(tall), 0)):
            decoded.clear()
            assert np.array_equal(strips(reader, rows, halo), expected)
            assert sum(decoded) == len(tall) and max(decoded) < 100, (rows, halo)
        for start, stop in ((590, 600), (20, 30), (500, 501), (0, 600), (499, 500)):
            assert np.array_equal(reader.read(start, stop), expected[start:stop])


def test_what_is_read_may_be_changed(tmp_path, picture):
    for name in ('a.png', 'a.bmp'):
        Image.fromarray(picture).save(tmp_path / name)
        with open_rows(tmp_path / name) as reader:
            reader.read(0, 20)[:] = 0
            assert np.array_equal(reader.read(0, 20), picture[:20, :, ::-1])


def test_memory(tmp_path):
    """Pictures of 72 MB are read in far less."""
    picture = Image.new('RGB', (6000, 4000), (10, 20, 30))
    paths = [str(tmp_path / name) for name in ('a.jpg', 'a.png', 'a.tif')]
    for path in paths:
        picture.save(path, compress_level=1)
    run = subprocess.run([sys.executable, '-c', MEMORY, *paths], capture_output=True, text=True, check=True)
    growth = [int(line) for line in run.stdout.split()]
    assert len(growth) == 3 and max(growth) < 45, growth


@pytest.mark.parametrize('suffix', ['jpg', 'png', 'tif'])
def test_cut_off(tmp_path, picture, suffix):
    tall = np.concatenate([picture] * 4)
    path = tmp_path / f'a.{suffix}'
    Image.fromarray(tall).save(path)
    expected = read_picture(path)[..., ::-1]
    content = path.read_bytes()
    path.write_bytes(content[: len(content) // 2])
    with open_rows(path) as reader:
        assert np.array_equal(reader.read(0, 100), expected[:100])
        with pytest.raises(SagaError, match=r'damaged or cut off between its rows \d+ and \d+') as caught:
            strips(reader)
    assert f'a.{suffix}' in str(caught.value) and '\n' not in str(caught.value)


def test_bytes_that_belong_to_nothing(tmp_path, picture):
    Image.fromarray(picture).save(tmp_path / 'a.jpg', progressive=True)
    content = (tmp_path / 'a.jpg').read_bytes()
    (tmp_path / 'a.jpg').write_bytes(content[:-2] + bytes(5) + content[-2:] + b'more')
    assert same(tmp_path / 'a.jpg')


def test_no_picture(tmp_path, picture):
    Image.fromarray(picture).save(tmp_path / 'cut.jpg')
    (tmp_path / 'cut.jpg').write_bytes((tmp_path / 'cut.jpg').read_bytes()[:100])
    (tmp_path / 'empty.png').write_bytes(b'')
    (tmp_path / 'text.tif').write_text('no picture')
    wrong = {'gone.png': 'no such picture', '.': 'no such picture', 'empty.png': '0 bytes', 'text.tif': 'not a picture'}
    for name, words in {**wrong, 'cut.jpg': 'cannot be read'}.items():
        with pytest.raises(SagaError, match=words) as caught:
            open_rows(tmp_path / name)
        assert str(tmp_path / name) in str(caught.value) and '\n' not in str(caught.value)


def test_larger_than_the_format_allows(tmp_path, picture):
    Image.fromarray(picture).save(tmp_path / 'a.jpg')
    content = bytearray((tmp_path / 'a.jpg').read_bytes())
    frame = content.index(b'\xff\xc0')
    content[frame + 5 : frame + 7] = (65501).to_bytes(2, 'big')
    (tmp_path / 'a.jpg').write_bytes(content)
    Image.new('1', (1_000_001, 1)).save(tmp_path / 'a.png')
    for name, words in {'a.jpg': 'up to 65,500', 'a.png': 'up to 1,000,000'}.items():
        with pytest.raises(SagaError, match=words):
            open_rows(tmp_path / name)


def test_no_limit_on_pixels(tmp_path, picture, monkeypatch):
    for name in ('a.png', 'a.bmp'):
        Image.fromarray(picture).save(tmp_path / name)
        monkeypatch.setattr(Image, 'MAX_IMAGE_PIXELS', 100)
        with open_rows(tmp_path / name) as reader:
            assert np.array_equal(strips(reader), picture[..., ::-1])
        assert Image.MAX_IMAGE_PIXELS == 100


def test_rows_outside(tmp_path, picture):
    Image.fromarray(picture).save(tmp_path / 'a.png')
    with open_rows(tmp_path / 'a.png') as reader:
        for start, stop in ((-1, 5), (5, 5), (0, HEIGHT + 1)):
            with pytest.raises(ValueError, match='no rows'):
                reader.read(start, stop)


def test_without_the_library(tmp_path, picture, monkeypatch):
    Image.fromarray(picture).save(tmp_path / 'a.png')
    monkeypatch.setitem(sys.modules, 'OpenImageIO', None)
    with pytest.raises(SagaError, match='pip install openimageio'):
        open_rows(tmp_path / 'a.png')


def test_what_decoding_a_whole_picture_takes_is_known_beforehand(tmp_path):
    picture = Image.new('RGB', (90, 60))
    for name in ('a.png', 'a.jpg', 'a.tif'):
        picture.save(tmp_path / name)
        assert decoding_bytes(tmp_path / name) == 0
    picture.save(tmp_path / 'a.webp')
    assert decoding_bytes(tmp_path / 'a.webp') > 4 * 90 * 60
    exif = Image.Exif()
    exif[0x0112] = 6
    picture.save(tmp_path / 'turned.jpg', exif=exif)
    assert decoding_bytes(tmp_path / 'turned.jpg') == 2 * 3 * 90 * 60
    # a few bytes that claim to be huge
    (tmp_path / 'a.ppm').write_bytes(b'P6 100000 100000 255\n' + bytes(2000))
    assert decoding_bytes(tmp_path / 'a.ppm') > 10**11
    assert decoding_bytes(tmp_path / 'none.png') == 0
