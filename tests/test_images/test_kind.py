"""What a photograph is, told by its head."""

import struct
import zlib

import numpy as np
import pytest
from PIL import Image

from saga_mm.errors import SagaError
from saga_mm.images.kind import jpeg_quality, photo_size
from saga_mm.images.photo import read_photo


def test_quality_of_unknown_tables():
    assert jpeg_quality({0: [1] * 64}) == 100
    assert 40 < jpeg_quality({0: [60] * 64, 1: [99] * 64}) < 55
    assert jpeg_quality({0: [65535] * 64}) == 1


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
