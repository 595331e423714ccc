"""What a video file says of itself."""

import struct
from fractions import Fraction
from types import SimpleNamespace

import pytest

from saga_mm.images.video_kind import VideoKind, chroma_of, hdr10_facts, orientation_of

ONE = 1 << 16


class Part(bytes):
    """Data beside a frame, as PyAV gives them."""

    def __new__(cls, name, data):
        made = super().__new__(cls, data)
        made.type = SimpleNamespace(name=name)
        return made


def frame_with(name, layout, *numbers):
    return SimpleNamespace(side_data=[Part(name, struct.pack(layout, *numbers))])


@pytest.mark.parametrize(
    ('pairs', 'turn'),
    [
        ((ONE, 0, 0, ONE), (False, False, False)),
        ((-ONE, 0, 0, -ONE), (False, True, True)),
        ((0, ONE, -ONE, 0), (True, True, False)),
        ((0, -ONE, ONE, 0), (True, False, True)),
    ],
)
def test_the_matrix_of_a_file_says_how_frames_are_turned(pairs, turn):
    a, b, c, d = pairs
    assert orientation_of(frame_with('DISPLAYMATRIX', '=9i', a, b, 0, c, d, 0, 0, 0, 1 << 30)) == turn
    assert orientation_of(SimpleNamespace(side_data=[])) == (False, False, False)


def test_the_brightest_pixels_of_hdr10():
    assert hdr10_facts(frame_with('CONTENT_LIGHT_LEVEL', '=2I', 1000, 400)) == {'max-cll': '1000,400'}
    assert hdr10_facts(SimpleNamespace(side_data=[])) == {}


@pytest.mark.parametrize(
    ('name', 'rgb', 'chroma'), [('yuv422p10le', False, '422'), ('nv12', False, '420'), ('gbrp', True, '444')]
)
def test_colours_of_a_format(name, rgb, chroma):
    assert chroma_of(SimpleNamespace(name=name, is_rgb=rgb)) == chroma


@pytest.mark.parametrize(('transfer', 'hdr'), [(1, False), (16, True), (18, True)])
def test_pq_and_hlg_are_hdr(transfer, hdr):
    kind = VideoKind(2, 2, Fraction(1), Fraction(1), colours=(9, 1, transfer, 9))
    assert kind.is_hdr is hdr
