import gc
import os
import subprocess
import sys
import textwrap
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest

from saga_mm.errors import SagaError
from saga_mm.images.video_kind import VideoKind, import_av
from saga_mm.images.video_reader import VideoReader
from saga_mm.images.video_writer import ENCODERS, VideoWriter

av = pytest.importorskip('av')

THREADS = Path('/proc/self/task')
KIND = VideoKind(32, 48, Fraction(10), Fraction(1, 10))
SOUNDS = {'.webm': 'libopus', '.avi': 'libmp3lame', '.mpg': 'mp2', '.mkv': 'libopus', '.mov': 'pcm_s16le'}


def pictures(count=12, size=(32, 48)):
    """Frames that grow brighter, with a mark at the left of the top."""
    frames = [np.full((*size, 3), 20 + 5 * i, np.uint8) for i in range(count)]
    for frame in frames:
        frame[: size[0] // 4, : size[1] // 4] = (250, 100, 30)
    return frames


def copy(source, target):
    """Read and write; the reader is given back."""
    with VideoReader(source) as reader, VideoWriter(target, reader.kind, reader.sounds) as writer:
        for frame in reader.read(writer.copy):
            writer.write(frame.pixels, frame.time)
    return reader


def content(path):
    """Times in seconds and pixels of the frames; times and bytes of the packets of the sound."""
    sound = []
    with VideoReader(path) as reader:
        frames = list(reader.read(lambda packet: sound.append((float(packet.pts * packet.time_base), bytes(packet)))))
        base = reader.kind.time_base
    return [float(frame.time * base) for frame in frames], [frame.pixels for frame in frames], sound


@pytest.mark.parametrize('suffix', [suffix for suffix in ENCODERS if suffix not in ('.m4v', '.mpeg')])
def test_copy_is_the_same_video(suffix, make_video, tmp_path):
    encoder, rate = ENCODERS[suffix], 25
    sound = SOUNDS.get(suffix, 'aac')
    source = make_video(tmp_path / f'a{suffix}', pictures(20), rate, encoder.codec, sound=sound)
    read = copy(source, tmp_path / f'b{suffix}')
    assert not read.missing
    (times, frames, packets), (times_b, frames_b, packets_b) = content(source), content(tmp_path / f'b{suffix}')
    assert len(frames) == len(frames_b) == 20
    # frames of some kinds of file have numbers instead of times
    assert np.allclose(times, times_b, atol=0.05 if encoder.steady else 1e-6)
    for frame, frame_b in zip(frames, frames_b):
        assert frame.shape == frame_b.shape == (32, 48, 3)
        assert np.abs(frame.astype(int) - frame_b).mean() < 3
    assert [data for _, data in packets] == [data for _, data in packets_b] and len(packets) > 5
    assert np.allclose([time for time, _ in packets], [time for time, _ in packets_b], atol=0.01)
    with VideoReader(tmp_path / f'b{suffix}') as made:
        assert made.kind.rate == 25


def test_times_of_an_uneven_video_stay(tmp_path):
    times = [0, 40, 47, 300, 310, 900]
    kind = KIND._replace(time_base=Fraction(1, 1000))
    with VideoWriter(tmp_path / 'a.mp4', kind) as writer:
        for time, frame in zip(times, pictures()):
            writer.write(frame, time)
    copy(tmp_path / 'a.mp4', tmp_path / 'b.mkv')
    assert np.allclose(content(tmp_path / 'b.mkv')[0], np.array(times) / 1000, atol=1e-6)


@pytest.mark.parametrize('suffix', ['.mp4', '.webm', '.avi'])
def test_odd_sizes(suffix, tmp_path):
    frames = pictures(size=(31, 45))
    with VideoWriter(tmp_path / f'a{suffix}', KIND._replace(height=31, width=45)) as writer:
        for i, frame in enumerate(frames):
            writer.write(frame, i)
    _, made, _ = content(tmp_path / f'a{suffix}')
    assert len(made) == 12 and made[0].shape == (31, 45, 3)
    assert np.abs(made[-1].astype(int) - frames[-1])[10:].mean() < 3


@pytest.mark.parametrize(('rotation', 'corner'), [(90, (1, 0)), (-90, (0, 1)), (180, (1, 1))])
def test_frames_are_upright(rotation, corner, make_video, tmp_path):
    """Counter-clockwise, a mark at the left of the top comes to the left of the bottom."""
    source = make_video(tmp_path / 'a.mp4', pictures(), rotation=rotation)
    copy(source, tmp_path / 'b.mp4')
    with av.open(str(tmp_path / 'b.mp4')) as file:
        assert next(file.decode(video=0)).rotation == 0
    for path in (source, tmp_path / 'b.mp4'):
        frame = content(path)[1][0]
        height, width = (32, 48) if rotation == 180 else (48, 32)
        assert frame.shape == (height, width, 3)
        corners = frame[:: height - 1, :: width - 1, 0]
        assert corners[corner] > 200 and (corners > 200).sum() == 1


@pytest.mark.parametrize('colours', [(1, 1), (6, 1), (1, 2)])
def test_colours_stay(colours, make_video, tmp_path):
    source = make_video(tmp_path / 'a.mp4', pictures(), colours=colours)
    assert copy(source, tmp_path / 'b.mp4').kind.colours[:2] == colours
    for path in (source, tmp_path / 'b.mp4'):
        frame = content(path)[1][0]
        assert np.abs(frame[2:4, 2:4].astype(int) - (250, 100, 30)).max() < 8
        assert np.abs(frame[-4:].astype(int) - 20).max() < 8


def test_shape_of_pixels_and_title_stay(tmp_path):
    kind = KIND._replace(aspect=Fraction(4, 3), metadata={'title': 'Night', 'encoder': 'of the source'})
    with VideoWriter(tmp_path / 'a.mp4', kind) as writer:
        for i, frame in enumerate(pictures()):
            writer.write(frame, i)
    made = copy(tmp_path / 'a.mp4', tmp_path / 'b.mp4').kind
    assert made.aspect == Fraction(4, 3) and made.metadata['title'] == 'Night'
    assert made.metadata.get('encoder') != 'of the source'


@pytest.mark.parametrize(('suffix', 'codec'), [('.mp4', 'libx264'), ('.mkv', 'libx264'), ('.avi', 'mpeg4')])
def test_truncated(suffix, codec, make_video, tmp_path):
    noise = np.random.default_rng(0).integers(0, 256, (40, 48, 64, 3), np.uint8)
    moved = {'movflags': 'faststart'} if suffix == '.mp4' else {}
    source = make_video(tmp_path / f'a{suffix}', noise, codec=codec, **moved)
    whole = source.read_bytes()
    source.write_bytes(whole[: len(whole) // 2])
    read = copy(source, tmp_path / f'b{suffix}')
    assert 'ends early' in read.missing and ' of 4' in read.missing
    assert 8 < len(content(tmp_path / f'b{suffix}')[0]) < 28


def test_damaged_in_the_middle(make_video, tmp_path):
    noise = np.random.default_rng(0).integers(0, 256, (40, 48, 64, 3), np.uint8)
    source = make_video(tmp_path / 'a.mp4', noise, options={'g': '5'})
    data = bytearray(source.read_bytes())
    middle = len(data) // 2
    data[middle : middle + 3000] = bytes(3000)
    source.write_bytes(data)
    read = copy(source, tmp_path / 'b.mp4')
    assert 'damaged' in read.missing
    times, _, _ = content(tmp_path / 'b.mp4')
    assert 20 < len(times) < 40 and times[-1] == pytest.approx(3.9)


@pytest.mark.skipif(not THREADS.exists(), reason='the system does not list threads')
def test_closing_ends_the_threads(make_video, tmp_path):
    """At once: garbage collection would wait for them with the interpreter locked, which they may want."""

    def decoding() -> int:
        return sum((thread / 'comm').read_text().startswith('av:h264') for thread in THREADS.iterdir())

    source = make_video(tmp_path / 'a.mp4', pictures())
    gc.collect()
    gc.disable()
    try:
        before = decoding()
        reader = VideoReader(source)
        assert decoding() > before
        reader.close()
        assert decoding() == before and not reader.missing
    finally:
        gc.enable()


def test_no_messages_in_python():
    """A codec's thread that has one would wait for the interpreter."""
    av.logging.set_level(av.logging.ERROR)
    import_av()
    assert av.logging.get_level() is None


def test_no_video(make_video, tmp_path):
    whole = make_video(tmp_path / 'a.mp4', pictures()).read_bytes()
    contents = {
        'empty.mp4': b'',
        'text.mp4': b'no video ' * 1000,
        'list.mp4': f'#EXTM3U\n#EXTINF:1,\n{tmp_path}/a.mp4\n#EXT-X-ENDLIST\n'.encode(),
        # the table of frames is at the end
        'head.mp4': whole[: len(whole) // 2],
    }
    for name, data in contents.items():
        path = tmp_path / name
        path.write_bytes(data)
        with pytest.raises(SagaError, match=f'^{path}: no video that can be read') as caught:
            VideoReader(path)
        assert '\n' not in str(caught.value)
    with pytest.raises(SagaError, match='No such file'):
        VideoReader(tmp_path / 'none.mp4')
    with av.open(str(tmp_path / 'sound.mp4'), 'w') as file:
        stream = file.add_stream('aac', rate=48000, layout='mono')
        frame = av.AudioFrame.from_ndarray(np.zeros((1, 4096), np.int16), format='s16', layout='mono')
        frame.sample_rate = 48000
        file.mux(stream.encode(frame) + stream.encode(None))
    with pytest.raises(SagaError, match='only sound'):
        VideoReader(tmp_path / 'sound.mp4')


def test_streams_in_an_unknown_codec(make_video, tmp_path):
    content = make_video(tmp_path / 'a.mkv', pictures(), sound='aac').read_bytes()
    (tmp_path / 'picture.mkv').write_bytes(content.replace(b'V_MPEG4/ISO/AVC', b'V_MPEGX/ISO/AVC'))
    (tmp_path / 'sound.mkv').write_bytes(content.replace(b'A_AAC', b'A_XYZ'))
    with pytest.raises(SagaError, match=r'picture\.mkv: its pictures are in a codec that FFmpeg does not know'):
        VideoReader(tmp_path / 'picture.mkv')
    with VideoReader(tmp_path / 'sound.mkv') as video:
        assert len(list(video.read())) == len(pictures()) and not video.sounds
        assert video.missing == 'sound in a codec that FFmpeg does not know was left out'


def test_a_full_disk(tmp_path):
    write = """
        import os, resource, sys
        import numpy as np
        from fractions import Fraction
        from saga_mm.images.video_kind import VideoKind
        from saga_mm.images.video_writer import VideoWriter
        from saga_mm.errors import SagaError

        def make(path):
            with VideoWriter(path, VideoKind(48, 64, Fraction(10), Fraction(1, 1000))) as writer:
                for time, frame in enumerate(np.random.default_rng(0).integers(0, 256, (5, 48, 64, 3), np.uint8)):
                    writer.write(frame, 100 * time)

        paths = sys.argv[1:]
        for path in paths:
            make(path)
        for path in paths:
            size = os.path.getsize(path)
            os.unlink(path)
            for limit in (0, 100, size // 2, size - 1):
                resource.setrlimit(resource.RLIMIT_FSIZE, (limit, resource.RLIM_INFINITY))
                try:
                    make(path)
                    print('done', limit, size)
                except SagaError as error:
                    print(error)
        print(os.listdir(os.path.dirname(path)))
    """
    paths = [tmp_path / name for name in ('a.mp4', 'a.mkv', 'a.avi')]
    run = subprocess.run([sys.executable, '-c', textwrap.dedent(write), *paths], capture_output=True, text=True)
    lines = [f'{path}: could not be written (File too large)' for path in paths for _ in range(4)]
    assert run.stdout.splitlines() == [*lines, '[]'], run.stderr


def test_file_is_there_when_complete(tmp_path):
    target = tmp_path / 'out' / 'a.mp4'
    with VideoWriter(target, KIND) as writer:
        writer.write(pictures()[0], 0)
        assert [name[-5:] for name in os.listdir(target.parent)] == ['.part']
    assert os.listdir(target.parent) == ['a.mp4']
    before = target.read_bytes()
    with pytest.raises(ValueError, match='shape'), VideoWriter(target, KIND) as writer:
        writer.write(np.zeros((2, 2, 9), np.uint8), 0)
    assert os.listdir(target.parent) == ['a.mp4'] and target.read_bytes() == before


def test_what_cannot_be_written(make_video, tmp_path):
    def refused(path: Path, words: str, sounds=()) -> None:
        with pytest.raises(SagaError, match=words) as caught:
            VideoWriter(path, KIND, sounds)
        assert str(caught.value).startswith(str(path)) and '\n' not in str(caught.value)
        assert not path.exists() and not list(tmp_path.rglob('*.part'))

    refused(tmp_path / 'a.gif', r'name one of \.mp4')
    (tmp_path / 'file').touch()
    refused(tmp_path / 'file' / 'a.mp4', 'could not be written')
    with VideoReader(make_video(tmp_path / 'a.mp4', pictures(), sound='aac')) as reader:
        refused(tmp_path / 'b.webm', r'sound \(aac\); name a \.mkv', reader.sounds)


def write_deep(path: Path, pix_fmt: str, transfer: int) -> Path:
    """A ramp of 10 bits, whose steps are finer than those of 8 bits."""
    av = pytest.importorskip('av')
    with av.open(str(path), 'w') as file:
        stream = file.add_stream('libx265', rate=25, options={'x265-params': 'log-level=none', 'crf': '4'})
        stream.width, stream.height, stream.pix_fmt = 64, 48, pix_fmt
        context = stream.codec_context
        context.colorspace, context.color_primaries, context.color_trc, context.color_range = 9, 9, transfer, 1
        ramp = (2000 + 120 * np.arange(64)[None] + 40 * np.arange(48)[:, None]).astype(np.uint16)
        for index in range(3):
            frame = av.VideoFrame.from_ndarray(np.repeat(ramp[..., None], 3, axis=2), format='rgb48le')
            frame = frame.reformat(format=pix_fmt, dst_colorspace=9)
            frame.pts = index
            file.mux(stream.encode(frame))
        file.mux(stream.encode(None))
    return path


@pytest.mark.parametrize(('pix_fmt', 'transfer'), [('yuv420p10le', 18), ('yuv420p10le', 16), ('yuv422p10le', 1)])
@pytest.mark.parametrize('ending', ['.mov', '.mp4', '.mkv'])
def test_ten_bits_and_their_label_are_kept(tmp_path, pix_fmt, transfer, ending, capfd):
    with VideoReader(write_deep(tmp_path / 'a.mov', pix_fmt, transfer)) as reader:
        assert reader.kind.bits == 10 and reader.kind.is_hdr is (transfer != 1)
        frames = list(reader.read())
        assert frames[0].pixels.dtype == np.uint16
        with VideoWriter(tmp_path / f'b{ending}', reader.kind) as writer:
            for frame in frames:
                writer.write(frame.pixels, frame.time)
            assert writer.changes[0].startswith('10 bits') and writer.changes[0].endswith('kept')
    with VideoReader(tmp_path / f'b{ending}') as again:
        assert again.kind.colours == reader.kind.colours and again.kind.chroma == pix_fmt[3:6]
        found = next(again.read()).pixels
    # a step of 8 bits is 257
    assert np.abs(found.astype(int) - frames[0].pixels).mean() < 257
    assert capfd.readouterr().err == ''


def test_ten_bits_in_files_of_eight(tmp_path):
    with VideoReader(write_deep(tmp_path / 'a.mov', 'yuv420p10le', 18)) as reader:
        kind = reader.kind
    with pytest.raises(SagaError, match=r'the source is HDR .* name a \.mp4, \.mov or \.mkv file as the output'):
        VideoWriter(tmp_path / 'b.avi', kind)
    source = write_deep(tmp_path / 'c.mov', 'yuv422p10le', 1)
    with VideoReader(source) as reader, VideoWriter(tmp_path / 'd.avi', reader.kind) as writer:
        frame = next(reader.read())
        writer.write(frame.pixels, frame.time)
        assert writer.changes[0] == '10 bits became 8, which files of this kind hold'
    assert not (tmp_path / 'b.avi').exists() and (tmp_path / 'd.avi').exists()
