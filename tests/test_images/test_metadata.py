"""EXIF, profiles and resolution: kept where they are true, left out where they are not."""

import io
import struct
from dataclasses import replace

import numpy as np
import OpenImageIO as oiio
import pytest
from PIL import ExifTags, Image

from saga_mm.images.photo import read_photo
from saga_mm.images.photo_writer import write_photo

ORIENTATION = 0x0112
MAKER, EXPOSURE, NOTE = 271, 33434, 37500
EXIF_IFD, GPS_IFD = 0x8769, 0x8825


@pytest.mark.parametrize('source', ['jpg', 'png', 'tif', 'webp'])
@pytest.mark.parametrize('target', ['jpg', 'png', 'tif', 'webp'])
def test_exif_and_profile_are_kept(tmp_path, picture, icc, source, target, exif_of):
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
def test_tiff_of_any_size_and_compression(tmp_path, picture, icc, monkeypatch, big, compression, exif_of):
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
