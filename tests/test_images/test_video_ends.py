import random

import numpy as np
import pytest

from saga_mm.errors import SagaError
from saga_mm.images.video_ends import breaks_off
from saga_mm.images.video_reader import VideoReader
from saga_mm.images.video_writer import ENCODERS

pytest.importorskip('av')

# a transport stream that ends with a packet, and a program stream that ends with a pack, look whole
LEAVES_OUT = {'.ts': 188, '.mts': 188, '.m2ts': 192, '.mpg': 2048}


@pytest.fixture(scope='module')
def drawn():
    return random.Random(5)


@pytest.mark.parametrize('suffix', [suffix for suffix in ENCODERS if suffix not in ('.m4v', '.mpeg')])
def test_cut_is_named(suffix, make_video, tmp_path, drawn):
    frames = [np.random.default_rng(i).integers(0, 60, (32, 48, 3), np.uint8) for i in range(8)]
    whole = make_video(tmp_path / f'whole{suffix}', frames, 10, ENCODERS[suffix].codec, sound=None)
    content = whole.read_bytes()
    assert not breaks_off(whole)
    whole.write_bytes(content)
    cut = tmp_path / f'cut{suffix}'
    # the last bytes, which hold no pictures, among them
    for length in [len(content) - 2, len(content) - 30, *(drawn.randrange(len(content)) for _ in range(12))]:
        length -= length % LEAVES_OUT.get(suffix, 1) == 0
        cut.write_bytes(content[:length])
        try:
            with VideoReader(cut) as reader:
                for _ in reader.read():
                    pass
        except SagaError:
            continue
        assert 'ends early' in reader.missing, length


@pytest.mark.parametrize('rest', [b'', b'\0' * 40, b'more of a camera'])
def test_what_others_append_is_no_cut(rest, make_video, tmp_path):
    path = make_video(tmp_path / 'a.mp4', [np.zeros((32, 48, 3), np.uint8)] * 3, 10, 'libx264', sound=None)
    path.write_bytes(path.read_bytes() + rest)
    assert not breaks_off(path)


@pytest.mark.parametrize(
    'content', [b'', b'\0', b'RIFF', b'FLV', b'\x1a\x45\xdf\xa3\x80', b'\x00\x00\x00\x08ftyp', b'G' * 400]
)
def test_any_bytes(content, tmp_path):
    path = tmp_path / 'a.mp4'
    path.write_bytes(content)
    assert breaks_off(path) in (True, False)
