"""What is kept of a file beside its pixels, EXIF and profile."""

import struct
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from PIL.PngImagePlugin import PngInfo

from saga_mm.images.kind import read_kind
from saga_mm.images.notes import read_geo, upright_xmp, world_transform, write_world_file
from saga_mm.images.photo import read_photo
from saga_mm.images.photo_writer import open_photo_writer, write_photo

XMP = b"<x:xmpmeta xmlns:x='adobe:ns:meta/'><rdf:Description tiff:Orientation='6' xmp:Rating='5'/></x:xmpmeta>"
UPRIGHT = XMP.replace(b"Orientation='6'", b"Orientation='1'")
IPTC = b'\x1c\x02\x19\x00\x05night'
SCALE, TIEPOINT = (0.05, 0.05, 0.0), (0.0, 0.0, 0.0, 500000.0, 5400000.0, 0.0)
KEYS = (1, 1, 0, 2, 1024, 0, 1, 1, 3072, 0, 1, 32631)


def resource() -> bytes:
    return b'8BIM' + struct.pack('>H', 0x0404) + b'\0\0' + struct.pack('>I', len(IPTC)) + IPTC


def tagged(path: Path) -> Path:
    """A picture with everything that its format holds."""
    picture = Image.new('RGB', (20, 10), (20, 30, 40))
    if path.suffix == '.jpg':
        picture.save(path, dpi=(300, 200), comment=b'from the pier', xmp=XMP)
        data = path.read_bytes()
        part = b'Photoshop 3.0\0' + resource()
        path.write_bytes(data[:2] + struct.pack('>2H', 0xFFED, len(part) + 2) + part + data[2:])
    elif path.suffix == '.png':
        texts = PngInfo()
        texts.add_text('Description', 'from the pier', zip=True)
        texts.add_itxt('Titel', 'Überfahrt')
        texts.add_itxt('XML:com.adobe.xmp', XMP.decode())
        picture.save(path, dpi=(300, 200), pnginfo=texts)
    elif path.suffix == '.tif':
        tags = Image.Exif()
        tags[700], tags[34377] = XMP, resource()
        for tag, value in ((33550, SCALE), (33922, TIEPOINT), (34735, KEYS)):
            tags[tag] = value
        picture.save(path, tiffinfo=tags, dpi=(300, 200))
    else:
        picture.save(path, xmp=XMP)
    return path


@pytest.mark.parametrize('name', ['a.jpg', 'a.png', 'a.tif', 'a.webp', 'a.avif'])
def test_notes_are_written_again(tmp_path, name):
    photo = read_photo(tagged(tmp_path / name))
    write_photo(tmp_path / f'b{name}', photo, photo.pixels)
    before, after = (read_kind(tmp_path / file)[0].notes for file in (name, f'b{name}'))
    assert after == before and after.xmp == UPRIGHT
    if name == 'a.jpg':
        assert after.comment == b'from the pier' and after.dpi == (300, 200) and IPTC in after.photoshop
    if name == 'a.png':
        with Image.open(tmp_path / f'b{name}') as image:
            assert image.text['Description'] == 'from the pier' and image.text['Titel'] == 'Überfahrt'
            assert image.info['dpi'] == pytest.approx((300, 200), rel=1e-3)
    if name == 'a.tif':
        assert after.geo[33550] == SCALE and after.geo[33922] == TIEPOINT and after.geo[34735] == KEYS
        assert IPTC in after.photoshop


def test_another_format_keeps_what_it_can(tmp_path):
    photo = read_photo(tagged(tmp_path / 'a.jpg'))
    write_photo(tmp_path / 'b.png', photo, photo.pixels)
    with Image.open(tmp_path / 'b.png') as image:
        assert image.text['Comment'] == 'from the pier' and image.text['XML:com.adobe.xmp'].encode() == UPRIGHT
        assert image.info['dpi'] == pytest.approx((300, 200), rel=1e-3)


def test_orientation_in_xmp():
    element = b'<tiff:Orientation>8</tiff:Orientation>'
    assert upright_xmp(element) == b'<tiff:Orientation>1</tiff:Orientation>'
    assert upright_xmp(b'tiff:Orientation="3"') == b'tiff:Orientation="1"' and upright_xmp(b'no such') == b'no such'


def test_a_world_file(tmp_path):
    assert world_transform({33550: SCALE, 33922: TIEPOINT}) == pytest.approx(
        (0.05, 0, 0, -0.05, 500000.025, 5399999.975)
    )
    point = (1, 1, 0, 1, 1025, 0, 1, 2)
    assert world_transform({33550: SCALE, 33922: TIEPOINT, 34735: point})[4:] == (500000.0, 5400000.0)
    matrix = (1.0, 0.5, 0.0, 7.0, 0.25, -2.0, 0.0, 9.0, *(0.0,) * 7, 1.0)
    assert world_transform({34264: matrix}) == pytest.approx((1, 0.25, 0.5, -2, 7.75, 8.125))
    assert write_world_file(tmp_path / 'a.png', {}) is None and not list(tmp_path.iterdir())
    target = write_world_file(tmp_path / 'a.png', {33550: SCALE, 33922: TIEPOINT})
    assert target == tmp_path / 'a.pgw' and len(target.read_text().splitlines()) == 6


@pytest.mark.parametrize('bigtiff', [False, True])
def test_where_a_map_of_many_bands_lies(tmp_path, bigtiff):
    tifffile = pytest.importorskip('tifffile')
    tags = [(33550, 'd', 3, SCALE, True), (33922, 'd', 6, TIEPOINT, True)]
    values = np.zeros((10, 20, 5), np.uint16)
    tifffile.imwrite(
        tmp_path / 'a.tif', values, photometric='minisblack', extratags=tags, metadata=None, bigtiff=bigtiff
    )
    assert read_geo(tmp_path / 'a.tif') == {33550: SCALE, 33922: TIEPOINT}
    (tmp_path / 'b.tif').write_bytes(b'II*\0garbage')
    assert read_geo(tmp_path / 'b.tif') == {}


def png_parts(path: Path) -> dict[bytes, bytes]:
    data, place, found = path.read_bytes(), 8, {}
    while place < len(data):
        length, kind = struct.unpack('>I4s', data[place : place + 8])
        found[kind] = data[place + 8 : place + 8 + length]
        place += length + 12
    return found


@pytest.mark.parametrize('icc', [b'', b'a profile'])
def test_what_the_colours_of_a_png_file_mean_is_kept(tmp_path, icc):
    """A viewer shows a file without its gamma darker or brighter."""
    meant = {
        b'gAMA': struct.pack('>I', 100000),
        b'sRGB': b'\0',
        b'cHRM': bytes(range(32)),
        b'cICP': bytes([9, 16, 0, 1]),
    }
    info = PngInfo()
    for kind, data in meant.items():
        info.add(kind, data)
    source, target = tmp_path / 'a.png', tmp_path / 'b.png'
    Image.new('RGB', (20, 10), (20, 30, 40)).save(source, pnginfo=info, icc_profile=icc or None)
    photo = read_photo(source)
    write_photo(target, photo, photo.pixels)
    found = png_parts(target)
    assert {kind: found.get(kind) for kind in meant} == {**meant, **({b'sRGB': None} if icc else {})}
    assert (b'iCCP' in found) == bool(icc) and list(found).index(b'gAMA') < list(found).index(b'IDAT')


def lost(path, photo):
    """What is said of a file that is written."""
    with open_photo_writer(path, photo) as writer:
        writer.write(photo.pixels)
        return writer.lost


CAMERA = b'<x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf:Description %s xmp:Rating="5"/></x:xmpmeta>'


@pytest.mark.parametrize(
    ('promise', 'kept', 'said'),
    [
        (b'GCamera:MotionPhoto="1"', b'GCamera:MotionPhoto="0"', 'its video (a motion photo) was left out'),
        (b"GCamera:MicroVideo = '1'", b"GCamera:MicroVideo = '0'", 'its video (a motion photo) was left out'),
        (b'hdrgm:Version="1.0"', b'hdrgm:Removed="1.0"', 'its HDR gain map was left out'),
        (b'xmpNote:HasExtendedXMP="AB"', b'xmpNote:HasExtendedXMP="AB"', 'the second part of its XMP was left out'),
        (b'GCamera:MotionPhoto="0"', b'GCamera:MotionPhoto="0"', ''),
    ],
)
def test_what_cameras_put_behind_a_picture_is_named(tmp_path, promise, kept, said):
    Image.new('RGB', (20, 10), (20, 30, 40)).save(tmp_path / 'a.jpg', xmp=CAMERA % promise)
    photo = read_photo(tmp_path / 'a.jpg')
    assert lost(tmp_path / 'b.jpg', photo) == said
    assert read_kind(tmp_path / 'b.jpg')[0].notes.xmp == CAMERA % kept
    # what is not there is not promised again
    again = read_photo(tmp_path / 'b.jpg')
    if b'Extended' not in promise:
        assert lost(tmp_path / 'c.jpg', again) == ''


def test_a_second_picture_is_named(tmp_path):
    second = Image.new('L', (10, 5))
    Image.new('RGB', (20, 10)).save(tmp_path / 'a.jpg', format='MPO', save_all=True, append_images=[second])
    photo = read_photo(tmp_path / 'a.jpg')
    said = lost(tmp_path / 'b.jpg', photo)
    assert said == 'a further picture (a preview, depth or a gain map) was left out'


def test_what_is_more_than_a_segment_of_jpeg_is_named(tmp_path):
    long = XMP.replace(b'/>', b" dc:title='" + b'x' * 70_000 + b"'/>")
    texts = PngInfo()
    texts.add_itxt('XML:com.adobe.xmp', long.decode())
    Image.new('RGB', (20, 10)).save(tmp_path / 'a.png', pnginfo=texts)
    photo = read_photo(tmp_path / 'a.png')
    said = [lost(tmp_path / name, photo) for name in ('b.png', 'b.jpg')]
    assert said == ['', 'XMP was left out, which is more than JPEG holds']


@pytest.mark.parametrize(('mode', 'said'), [('CMYK', 'CMYK became RGB'), ('LAB', 'Lab became RGB'), ('RGB', '')])
def test_other_colours_than_rgb_are_named(tmp_path, mode, said):
    Image.new('RGB', (20, 10), (20, 30, 40)).convert(mode).save(tmp_path / 'a.tif')
    photo = read_photo(tmp_path / 'a.tif')
    assert lost(tmp_path / 'b.tif', photo) == said
    assert Image.open(tmp_path / 'b.tif').mode == 'RGB'
    assert np.abs(photo.pixels * 255 - (20, 30, 40)).max() < 2
