"""What a video holds beside its pictures in 8 bits: kept in the copy, or named."""

from fractions import Fraction

import numpy as np
import pytest

from saga_mm.images.video_kind import VideoKind
from saga_mm.images.video_reader import VideoReader
from saga_mm.images.video_writer import VideoWriter

av = pytest.importorskip('av')

RAMP = np.broadcast_to(np.arange(0, 192, 4, dtype=np.uint8)[None, :, None], (32, 48, 3))


def make(path, codec='libx264', pixels='yuv420p', prepare=None, frame_of=None, times=range(4), options=None, **of_file):
    """A clip of four frames; ``prepare`` is given the file and its stream, and may give further ones."""
    with av.open(str(path), 'w', container_options=of_file) as file:
        stream = file.add_stream(codec, rate=10, options=options or {})
        stream.width, stream.height, stream.pix_fmt = 48, 32, pixels
        stream.codec_context.time_base = Fraction(1, 100)
        more = prepare(file, stream) if prepare else ()
        for time in times:
            frame = frame_of() if frame_of else av.VideoFrame.from_ndarray(RAMP, format='rgb24')
            frame = frame.reformat(format=pixels)
            frame.pts, frame.time_base = 10 * time, Fraction(1, 100)
            file.mux(stream.encode(frame))
        file.mux(stream.encode(None))
        for track in more:
            samples = av.AudioFrame.from_ndarray(np.zeros((1, 19200), np.float32), format='fltp', layout='mono')
            samples.sample_rate, samples.pts = 48000, 0
            file.mux(track.encode(samples))
            file.mux(track.encode(None))
    return path


def copied(source, target):
    """What is said of a copy."""
    with (
        VideoReader(source) as reader,
        VideoWriter(target, reader.kind, reader.sounds, reader.subtitles) as writer,
    ):
        for frame in reader.read(writer.copy):
            writer.write(frame.pixels, frame.time)
        return [*writer.changes, *reader.left_out]


def test_languages_of_two_tracks_of_sound(tmp_path):
    def two(file, stream):
        for language in ('deu', 'fra'):
            track = file.add_stream('aac', rate=48000, layout='mono')
            track.metadata['language'] = language
            yield track

    source = make(tmp_path / 'a.mkv', prepare=lambda *given: list(two(*given)))
    assert copied(source, tmp_path / 'b.mkv') == []
    with av.open(str(tmp_path / 'b.mkv')) as made:
        assert [stream.metadata['language'] for stream in made.streams.audio] == ['deu', 'fra']


@pytest.mark.parametrize(('ending', 'kept'), [('.mkv', True), ('.mp4', True), ('.avi', False)])
def test_chapters(tmp_path, ending, kept):
    def two(file, stream):
        base = Fraction(1, 1000)
        file.set_chapters(
            [
                {'id': 1, 'start': 0, 'end': 200, 'time_base': base, 'metadata': {'title': 'one'}},
                {'id': 2, 'start': 200, 'end': 400, 'time_base': base, 'metadata': {'title': 'two'}},
            ]
        )
        return ()

    source = make(tmp_path / 'a.mp4', prepare=two)
    said = copied(source, tmp_path / f'b{ending}')
    assert said == ([] if kept else ['chapters were left out, which files of this kind cannot hold'])
    with av.open(str(tmp_path / f'b{ending}')) as made:
        chapters = [(each['metadata']['title'], float(each['end'] * each['time_base'])) for each in made.chapters()]
    assert chapters == ([('one', 0.2), ('two', 0.4)] if kept else [])


@pytest.fixture
def subtitled(tmp_path):
    (tmp_path / 'a.srt').write_text('1\n00:00:00,100 --> 00:00:00,300\nHello\n')
    make(tmp_path / 'plain.mkv', 'mpeg4')
    path = tmp_path / 'a.mkv'
    with (
        av.open(str(tmp_path / 'plain.mkv')) as pictures,
        av.open(str(tmp_path / 'a.srt')) as words,
        av.open(str(path), 'w') as file,
    ):
        sources = [(pictures, pictures.streams.video[0]), (words, words.streams.subtitles[0])]
        tracks = [file.add_stream_from_template(stream) for _, stream in sources]
        for (container, stream), track in zip(sources, tracks):
            for packet in container.demux(stream):
                if packet.size:
                    packet.stream = track
                    file.mux(packet)
    return path


def test_subtitles(subtitled, tmp_path):
    assert copied(subtitled, tmp_path / 'b.mkv') == []
    with av.open(str(tmp_path / 'b.mkv')) as made:
        packets = [packet for packet in made.demux(made.streams.subtitles[0]) if packet.size]
        assert [(bytes(packet), float(packet.pts * packet.time_base)) for packet in packets] == [(b'Hello', 0.1)]
    assert copied(subtitled, tmp_path / 'b.mp4') == ['subtitles were left out, which files of this kind cannot hold']


def test_names_that_phones_give(tmp_path):
    place = {'com.apple.quicktime.location.ISO6709': '+48.1+011.5/', 'title': 'night'}
    source = make(
        tmp_path / 'a.mov', prepare=lambda file, stream: file.metadata.update(place) or (), movflags='use_metadata_tags'
    )
    copied(source, tmp_path / 'b.mov')
    with av.open(str(tmp_path / 'b.mov')) as made:
        assert {name: made.metadata[name] for name in place} == place


def test_transparency_is_named(tmp_path):
    pixels = np.dstack([RAMP, RAMP[..., :1]])
    clear = {'frame_of': lambda: av.VideoFrame.from_ndarray(pixels, format='rgba')}
    for source in (
        make(tmp_path / 'a.mov', 'png', 'rgba', **clear),
        make(tmp_path / 'a.webm', 'libvpx-vp9', 'yuva420p', **clear),
    ):
        assert 'transparency was left out' in copied(source, source.with_stem('b'))


def test_more_than_ten_bits_are_named(tmp_path):
    source = make(tmp_path / 'a.mkv', 'ffv1', 'yuv420p12le')
    assert copied(source, tmp_path / 'b.mkv') == ['12 bits became 10']
    assert copied(source, tmp_path / 'b.avi') == ['12 bits became 8, which files of this kind hold']


@pytest.mark.parametrize('size', [(32, 40), (64, 48), (8, 130)])
def test_small_pictures_of_ten_bits(tmp_path, size):
    """For less than 64 columns x265 writes beyond its memory; the process ends with it, sooner or later."""
    kind = VideoKind(*size, Fraction(10), Fraction(1, 10), bits=10)
    pixels = np.full((*size, 3), 30_000, np.uint16)
    with VideoWriter(tmp_path / 'a.mp4', kind) as writer:
        for time in range(4):
            writer.write(pixels, time)
        assert writer.changes == ['10 bits kept']
    with av.open(str(tmp_path / 'a.mp4')) as made:
        assert made.streams.video[0].codec_context.name == 'h264'
    with VideoReader(tmp_path / 'a.mp4') as made:
        assert made.kind.bits == 10
        assert max(np.abs(frame.pixels.astype(int) - 30_000).max() for frame in made.read()) < 257


def test_the_left_edge_of_ten_bits_is_free_of_the_right(tmp_path):
    """When several threads convert pixels, FFmpeg writes pixels of the right edge over the left edge at this width."""
    pixels = np.full((96, 854, 3), 10_000, np.uint16)
    pixels[:, 427:] = 50_000
    kind = VideoKind(96, 854, Fraction(10), Fraction(1, 10), bits=10)
    with VideoWriter(tmp_path / 'a.mp4', kind) as writer:
        for time in range(10):
            writer.write(pixels, time)
    with VideoReader(tmp_path / 'a.mp4') as made:
        assert max(np.abs(frame.pixels[:, :400].astype(int) - 10_000).max() for frame in made.read()) < 1000


def test_sampling_of_colours_is_named(tmp_path):
    assert copied(make(tmp_path / 'a.mkv', 'ffv1', 'yuv422p'), tmp_path / 'b.mkv') == ['colours of 4:2:2 became 4:2:0']
    assert copied(make(tmp_path / 'c.mkv', 'ffv1', 'bgr0'), tmp_path / 'd.mkv') == ['colours of 4:4:4 became 4:2:0']
    # of RGB in 10 bits it stays
    assert copied(make(tmp_path / 'e.mkv', 'ffv1', 'gbrp10le'), tmp_path / 'f.mkv') == ['10 bits kept']
    with VideoReader(tmp_path / 'f.mkv') as made:
        assert made.kind.chroma == '444'


def test_interlaced_frames_are_named(tmp_path):
    source = make(tmp_path / 'a.mkv', options={'x264-params': 'tff=1:interlaced=1'})
    assert copied(source, tmp_path / 'b.mkv') == ['interlaced frames became progressive ones']


def test_uneven_times_are_named_where_they_are_lost(tmp_path):
    source = make(tmp_path / 'a.mkv', times=[0, 1, 2, 3, 4, 5, 6, 40])
    assert copied(source, tmp_path / 'b.mp4') == []
    source = make(tmp_path / 'c.mkv', times=[0, 0.1, 0.2, 0.3, 8])
    assert any('frames at uneven times became' in line for line in copied(source, tmp_path / 'd.avi'))


@pytest.mark.parametrize('ending', ['.mp4', '.mkv'])
def test_the_screen_of_hdr10_is_kept(tmp_path, ending):
    screen = (
        ('master-display', 'G(13250,34500)B(7500,3000)R(34000,16000)WP(15635,16450)L(10000000,50)'),
        ('max-cll', '1000,400'),
    )
    kind = VideoKind(64, 96, Fraction(10), Fraction(1, 10), Fraction(1), (9, 1, 16, 9), bits=10, screen=screen)
    with VideoWriter(tmp_path / f'a{ending}', kind) as writer:
        for time in range(3):
            writer.write(np.full((64, 96, 3), 20_000, np.uint16), time)
    with VideoReader(tmp_path / f'a{ending}') as made:
        assert made.kind.screen == screen and made.kind.is_hdr
    assert copied(tmp_path / f'a{ending}', tmp_path / f'b{ending}') == ['10 bits PQ kept']
    with VideoReader(tmp_path / f'b{ending}') as made:
        assert made.kind.screen == screen
