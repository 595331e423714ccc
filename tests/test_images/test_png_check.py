"""Bytes of a PNG file that were changed."""

import io

import numpy as np
import pytest
from PIL import Image

from saga_mm.images.png_check import require_intact


@pytest.fixture(scope='module')
def png() -> bytes:
    stream, noise = io.BytesIO(), np.random.default_rng(0).integers(0, 255, (20, 30), dtype=np.uint8)
    Image.fromarray(noise).save(stream, 'PNG')
    return stream.getvalue()


def test_intact_files_and_those_of_other_formats_pass(png):
    for content in (png, png + b'more', b'', b'\xff\xd8\xff', b'GIF89a'):
        assert require_intact(content) is None


@pytest.mark.parametrize('place', [16, 20, 28, 45, 200, 400])
def test_a_changed_byte_is_found(png, place):
    changed = bytearray(png)
    changed[place] ^= 1
    with pytest.raises(ValueError, match=r'part has another checksum than it says|cut off'):
        require_intact(bytes(changed))


@pytest.mark.parametrize('length', [8, 20, 60, -13, -1])
def test_a_file_that_is_cut_off_is_found(png, length):
    with pytest.raises(ValueError, match='cut off, without its last part'):
        require_intact(png[:length])
