"""Photographs as they are written: complete or not at all, and in the format they came in."""

import os
import signal
import subprocess
import sys
import threading
from contextlib import suppress

import cv2
import numpy as np
import pytest
from PIL import Image

from saga_mm.errors import SagaError
from saga_mm.images.kind import PhotoKind, photo_size, read_kind
from saga_mm.images.photo import Photo, read_photo
from saga_mm.images.photo_writer import open_photo_writer, write_photo

HEIGHT, WIDTH = 90, 131


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


def test_a_disk_that_is_full_at_any_place(tmp_path, exif_of):
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
