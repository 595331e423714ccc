"""Kinds of files by their first bytes, and links that leave the data."""

import os
import re

import pytest

from saga_mm.errors import SagaError
from saga_mm.images.content import HEIC, PICTURE, RAW, VIDEO, kind_of_content, leads_out, refusal_of
from saga_mm.images.kind import photo_size
from saga_mm.images.picture_folders import scan_folder
from saga_mm.images.pictures import read_picture


@pytest.mark.parametrize(
    ('name', 'head', 'kind'),
    [
        ('a.txt', b'\xff\xd8\xff\xe0', PICTURE),
        ('a.mp4', b'\x89PNG\r\n\x1a\n', PICTURE),
        ('a.tif', b'II*\0', PICTURE),
        ('a.NEF', b'MM\0*', RAW),
        ('a.cr3', b'\0\0\0\x18ftypcrx ', RAW),
        ('a.raf', b'FUJIFILMCCD-RAW 0201', RAW),
        ('a.jpg', b'\0\0\0\x18ftypheic', HEIC),
        ('a.avif', b'\0\0\0\x1cftypavif', PICTURE),
        ('a.jpg', b'\0\0\0\x18ftypisom', VIDEO),
        ('a', b'RIFF\0\0\0\0WEBP', PICTURE),
        ('a', b'RIFF\0\0\0\0AVI ', VIDEO),
        ('a', b'RIFF\0\0\0\0WAVE', ''),
        ('a', b'\x1aE\xdf\xa3', VIDEO),
        ('a', b'BM\x10\0\0\0\0\0\0\0', PICTURE),
        ('a', b'BMW is a car', ''),
        ('a', b'P6 3 4 255\n', PICTURE),
        ('a', b'P6x', ''),
        ('a', b'\0\0\0\x20ftypmif1\0\0\0\0mif1avifmiaf', PICTURE),
        ('a', b'\0\0\0\x18ftypmif1\0\0\0\0mif1heic', HEIC),
        ('a', b'\0\0\0\x08wide\0\0\0\0mdat', VIDEO),
        ('a.TS', (b'G' + bytes(187)) * 3, VIDEO),
        ('a', (bytes(4) + b'G' + bytes(187)) * 3, VIDEO),
        ('a', b'Gnome is a desktop', ''),
        ('a', (b'G' + bytes(187)) * 2, ''),
        ('a', b'The free encyclopedia', ''),
        ('a.mxf', b'\x06\x0e\x2b\x34\x02\x05', VIDEO),
        # sound
        ('a.m4a', b'\0\0\0\x18ftypM4A ', ''),
        ('a.m4a', b'\0\0\0\x18ftypmp42', ''),
        ('a.WMA', b'0&\xb2u\x8ef\xcf\x11', ''),
        ('a.jpg', b'<html>', ''),
        ('a.jpg', b'', ''),
    ],
)
def test_the_first_bytes_decide(tmp_path, name, head, kind):
    (tmp_path / name).write_bytes(head)
    assert kind_of_content(tmp_path / name) == kind


@pytest.mark.parametrize(
    ('head', 'kind'),
    [
        (b'v/1\x01\2\0\0\0', 'an OpenEXR picture'),
        (b'#?RADIANCE\n', 'a Radiance HDR picture'),
        (b'\xff\x0a\xfa', 'a JPEG XL picture'),
        (b'\0\0\0\x0cJXL \r\n', 'a JPEG XL picture'),
        (b'II\xbc\x01', 'a JPEG XR picture'),
        (b'SIMPLE  =                    T', 'a FITS picture'),
        (bytes(128) + b'DICM', 'a DICOM picture'),
        (b'gimp xcf v011', "a picture of GIMP's"),
        (b'DDS |\0\0\0', 'a DDS texture'),
    ],
)
def test_pictures_that_are_not_read(tmp_path, head, kind):
    (tmp_path / 'a.png').write_bytes(head)
    said = f'{kind}, which is not read: save it as JPEG, PNG or TIFF first'
    assert kind_of_content(tmp_path / 'a.png') == said
    assert scan_folder(tmp_path).left_out == [(tmp_path / 'a.png', said)]
    for read in (read_picture, photo_size):
        with pytest.raises(SagaError, match=re.escape(f'a.png: is {said}')):
            read(tmp_path / 'a.png')


def test_entries_that_are_no_files(tmp_path):
    (tmp_path / 'a').touch()
    os.mkfifo(tmp_path / 'pipe')
    (tmp_path / 'gone').symlink_to('nowhere')
    (tmp_path / 'loop').symlink_to('loop')
    found = {name: refusal_of(tmp_path / name, tmp_path) for name in ('a', 'pipe', 'gone', 'loop', 'absent')}
    assert found == {
        'a': None,
        'pipe': 'a pipe or a device, not a file',
        'gone': 'a link to nowhere, which is not there',
        'loop': 'a link to itself',
        'absent': 'cannot be read (No such file or directory)',
    }


def test_links_may_lead_to_a_store_of_the_same_data(tmp_path):
    folder = tmp_path / 'u' / 'v' / 'w' / 'data' / 'images' / 'train'
    folder.mkdir(parents=True)
    places = {
        'beside': tmp_path / 'u/v/w/data/store',
        'inside': folder / 'deep',
        'far': tmp_path / 'other',
    }
    for name, place in places.items():
        place.mkdir()
        (place / 'x').touch()
        (folder / name).symlink_to(place / 'x')
    found = {name: leads_out(folder / name, folder) for name in places}
    assert found == {
        'beside': False,
        'inside': False,
        'far': True,
    }
    assert refusal_of(folder / 'far', folder).startswith(f'a link that leads out of the data, to {places["far"]}/x')
    # a repository keeps its store at its root
    (tmp_path / 'u' / '.git').mkdir()
    (tmp_path / 'u' / 'annex').touch()
    (folder / 'kept').symlink_to(tmp_path / 'u' / 'annex')
    assert not leads_out(folder / 'kept', folder) and leads_out(folder / 'far', folder)
