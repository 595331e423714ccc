import os
import resource
import struct

import cv2
import numpy as np
import pytest
from PIL import Image

from saga_mm.errors import SagaError
from saga_mm.images import large_writer as large_image_writer
from saga_mm.images.large import open_rows
from saga_mm.images.large_writer import write_rows

PALETTES = {
    'colours': None,
    'one': [[1, 2, 3]],
    'nineteen': np.arange(57).reshape(19, 3),
    'all': [[i] * 3 for i in range(256)],
}
MANY = np.random.default_rng(0).integers(0, 256, (700, 3))


def pixels(height: int, width: int, palette) -> np.ndarray:
    rng = np.random.default_rng(height)
    if palette is None:
        return rng.integers(0, 256, (height, width, 3)).astype(np.uint8)
    return rng.integers(0, len(palette), (height, width)).astype(np.uint8)


def write(path, values: np.ndarray, palette, sizes=(1, 0, 90, 200)) -> None:
    with write_rows(path, *values.shape[:2], palette) as writer:
        assert not path.exists()
        start, turn = 0, 0
        while start < len(values):
            stop = start + sizes[turn % len(sizes)]
            writer.write(values[start:stop])
            start, turn = stop, turn + 1


def check(path, values: np.ndarray, palette) -> None:
    """Three libraries read what was written."""
    colours = values if palette is None else np.asarray(palette, np.uint8)[values]
    with Image.open(path) as image:
        assert image.mode == ('RGB' if palette is None else 'P')
        assert np.array_equal(np.asarray(image), values)
        assert np.array_equal(np.asarray(image.convert('RGB')), colours)
    assert np.array_equal(cv2.imread(str(path))[..., ::-1], colours)
    with open_rows(path) as reader:
        assert np.array_equal(reader.read(0, reader.height)[..., ::-1], colours)


@pytest.mark.parametrize('size', [(1, 1), (256, 256), (257, 513), (600, 3)])
@pytest.mark.parametrize('palette', PALETTES.values(), ids=PALETTES)
@pytest.mark.parametrize('suffix', ['png', 'tif', 'TIFF'])
def test_what_is_written_is_read(tmp_path, size, palette, suffix):
    values = pixels(*size, palette)
    write(tmp_path / f'a.{suffix}', values, palette)
    check(tmp_path / f'a.{suffix}', values, palette)
    assert os.listdir(tmp_path) == [f'a.{suffix}']


@pytest.mark.parametrize('count', [257, 700, 65536])
@pytest.mark.parametrize('size', [(1, 1), (256, 256), (257, 513)])
@pytest.mark.parametrize('suffix', ['png', 'tif'])
def test_indices_of_many_classes_have_16_bits(tmp_path, suffix, size, count):
    values = np.random.default_rng(0).integers(0, count, size).astype(np.uint16)
    values[-1, -1] = count - 1
    # the second does not lie in memory row by row
    for name, indices in (('a', values), ('b', values[:, ::-1])):
        path = tmp_path / f'{name}.{suffix}'
        write(path, indices, np.zeros((count, 3)))
        with Image.open(path) as image:
            assert image.mode == 'I;16' and np.array_equal(np.asarray(image), indices)
        assert np.array_equal(cv2.imread(str(path), cv2.IMREAD_UNCHANGED), indices)


@pytest.mark.parametrize('palette', [None, PALETTES['nineteen']], ids=['colours', 'nineteen'])
def test_big_tiff(tmp_path, palette, monkeypatch):
    values = pixels(300, 500, palette)
    write(tmp_path / 'small.tif', values, palette)
    monkeypatch.setattr(large_image_writer, 'PLAIN_TIFF', 1000)
    write(tmp_path / 'big.tif', values, palette)
    versions = {name: struct.unpack('<H', (tmp_path / name).read_bytes()[2:4])[0] for name in ('small.tif', 'big.tif')}
    assert versions == {'small.tif': 42, 'big.tif': 43}
    check(tmp_path / 'big.tif', values, palette)


def test_the_size_decides_on_big_tiff(tmp_path):
    for width, version in ((20_000, 42), (100_000, 43)):
        writer = write_rows(tmp_path / 'a.tif', 60_000, width, [[0, 0, 0]])
        writer._file.flush()
        assert struct.unpack('<H', next(tmp_path.glob('*.part')).read_bytes()[2:4])[0] == version
        writer.discard()


def test_nothing_is_left_of_what_is_not_completed(tmp_path):
    (tmp_path / 'a.png').write_text('what was there before')
    values = pixels(10, 5, None)
    with pytest.raises(KeyboardInterrupt):
        _interrupted(tmp_path / 'a.png', values)
    writer = write_rows(tmp_path / 'a.png', 10, 5)
    writer.write(values[:4])
    with pytest.raises(ValueError, match='4 of 10 rows'):
        writer.close()
    assert os.listdir(tmp_path) == ['a.png'] and (tmp_path / 'a.png').read_text() == 'what was there before'


def _interrupted(path, values: np.ndarray) -> None:
    with write_rows(path, *values.shape[:2]) as writer:
        writer.write(values[:4])
        assert len(list(path.parent.glob('*.part'))) == 1
        raise KeyboardInterrupt


def test_a_folder_is_made(tmp_path):
    write(tmp_path / 'new' / 'folder' / 'a.png', pixels(20, 30, None), None)
    assert (tmp_path / 'new' / 'folder' / 'a.png').is_file()


@pytest.mark.parametrize('rows', [(3, 5), (3, 6, 3), (11, 5, 3), (3, 5, 4)])
def test_rows_of_another_shape(tmp_path, rows):
    with pytest.raises(ValueError, match='are left to write'), write_rows(tmp_path / 'a.png', 10, 5) as writer:
        writer.write(np.zeros(rows, np.uint8))


def test_wrong_values(tmp_path):
    with pytest.raises(ValueError, match='float32'), write_rows(tmp_path / 'a.png', 10, 5) as writer:
        writer.write(np.zeros((3, 5, 3), np.float32))
    with pytest.raises(ValueError, match='index 2'), write_rows(tmp_path / 'a.png', 10, 5, [[0, 0, 0]] * 2) as writer:
        writer.write(np.full((3, 5), 2, np.uint8))
    with pytest.raises(ValueError, match='uint8'), write_rows(tmp_path / 'a.png', 10, 5, MANY) as writer:
        writer.write(np.zeros((3, 5), np.uint8))
    with pytest.raises(ValueError, match='index 700'), write_rows(tmp_path / 'a.png', 10, 5, MANY) as writer:
        writer.write(np.full((3, 5), 700, np.uint16))
    for height, palette in ((0, None), (5, []), (5, [[0, 0, 0]] * 65537)):
        with pytest.raises(ValueError, match='no picture'):
            write_rows(tmp_path / 'a.png', height, 5, palette)


def test_what_cannot_be_written(tmp_path):
    with pytest.raises(SagaError, match=r'a\.jpg: .* \.png, \.tif, \.tiff'):
        write_rows(tmp_path / 'a.jpg', 10, 5)
    (tmp_path / 'file').write_text('')
    with pytest.raises(SagaError, match=r'file/a\.png: could not be written'):
        write_rows(tmp_path / 'file' / 'a.png', 10, 5)
    assert os.listdir(tmp_path) == ['file']


@pytest.mark.parametrize('suffix', ['png', 'tif'])
@pytest.mark.parametrize('room', [0, 200_000])
def test_no_room(tmp_path, suffix, room):
    """Files may grow to so many bytes, of the 900,000 that this one needs."""
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    values = pixels(600, 500, None)
    resource.setrlimit(resource.RLIMIT_FSIZE, (room, limits[1]))
    try:
        with pytest.raises(SagaError, match=rf'a\.{suffix}: could not be written \(File too large\)'):
            write(tmp_path / f'a.{suffix}', values, None)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert os.listdir(tmp_path) == []
