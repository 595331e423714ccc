import os
import re
import signal
from pathlib import Path

import cv2
import numpy as np
import pytest

from saga_mm.images.video_reader import VideoReader
from saga_mm.images.video_writer import VideoWriter
from saga_mm.tasks.enhancement.inferencer import LowLightInferencer


def dark(count=10, size=(32, 48)) -> list[np.ndarray]:
    return [np.full((*size, 3), (20, 30, 40), np.uint8) + np.uint8(i % 2) for i in range(count)]


def read(path: Path) -> tuple[VideoReader, list[np.ndarray]]:
    with VideoReader(path) as reader:
        return reader, [frame.pixels for frame in reader.read()]


def test_a_video_beside_a_picture(weights, make_video, tmp_path, monkeypatch, capsys, run):
    make_video(tmp_path / 'a.mp4', dark(), sound='aac')
    cv2.imwrite(str(tmp_path / 'b.png'), dark()[0])
    monkeypatch.chdir(tmp_path)
    assert run(weights, 'a.mp4', 'b.png', out='out') == 0
    out, err = capsys.readouterr()
    assert re.search(r'done     a\.mp4 -> out/a\.mp4  \(48 x 32, 10 frames, [\d.]+ s\)\n', out)
    assert '2 done, 0 skipped, 0 failed' in out and '\r' not in err
    assert sorted(os.listdir(tmp_path / 'out')) == ['a.mp4', 'b.png']
    reader, frames = read(tmp_path / 'out' / 'a.mp4')
    assert len(reader.sounds) == 1 and len(frames) == 10
    assert np.mean(frames) > 1.3 * np.mean(dark())


def test_before_and_after(weights, make_video, tmp_path, capsys, run):
    make_video(tmp_path / 'a.mp4', dark(3, (150, 201)))
    assert run(weights, tmp_path / 'a.mp4', compare=True) == 0
    assert sorted(os.listdir(tmp_path)) == ['a.mp4', 'a_compare.mp4', 'a_enhanced.mp4']
    _, frames = read(tmp_path / 'a_compare.mp4')
    enhanced = read(tmp_path / 'a_enhanced.mp4')[1]
    height, width = frames[0].shape[:2]
    assert len(frames) == 3 and height % 2 == width % 2 == 0 and height >= 150 and width >= 402
    assert frames[0][-80:, 50:150].mean() == pytest.approx(dark()[0].mean(), abs=6)
    assert frames[0][-80:, -150:-50].mean() == pytest.approx(enhanced[0].mean(), abs=6)
    assert run(weights, tmp_path / 'a.mp4', compare=True) == 0
    assert '1 skipped' in capsys.readouterr().out


def test_truncated_and_bad_ones_beside_good_ones(weights, make_video, tmp_path, capsys, run):
    noise = np.random.default_rng(0).integers(0, 60, (40, 48, 64, 3), np.uint8)
    cut = make_video(tmp_path / 'cut.mp4', noise, movflags='faststart')
    cut.write_bytes(cut.read_bytes()[: cut.stat().st_size // 2])
    (tmp_path / 'empty.mov').touch()
    good = make_video(tmp_path / 'good.mp4', dark())
    assert run(weights, cut, tmp_path / 'empty.mov', good, out=str(tmp_path / 'out')) == 1
    out = capsys.readouterr().out
    assert re.search(r'done .*cut\.mp4  \(64 x 48, \d\d frames; the file ends early: \d\.\d of 4\.0 seconds', out)
    assert re.search(r'failed .*/empty\.mov: no video that can be read', out)
    assert '2 done, 0 skipped, 1 failed' in out
    assert sorted(os.listdir(tmp_path / 'out')) == ['cut.mp4', 'good.mp4']


def test_other_kind_of_file(weights, make_video, tmp_path, capsys, run):
    source = make_video(tmp_path / 'a.mp4', dark(), sound='aac')
    assert run(weights, source, out=str(tmp_path / 'b.mkv')) == 0
    reader, frames = read(tmp_path / 'b.mkv')
    assert len(frames) == 10 and len(reader.sounds) == 1
    assert run(weights, source, out=str(tmp_path / 'b.webm')) == 1
    assert 'a.mkv file' in capsys.readouterr().out.replace('a .mkv', 'a.mkv')
    assert run(weights, source, out=str(tmp_path / 'b.png')) == 1


def test_from_python(weights, make_video, tmp_path):
    source = make_video(tmp_path / 'a.mp4', dark())
    made = LowLightInferencer(weights, 'cpu', None).save(source, strength=0)
    assert made == tmp_path / 'a_enhanced.mp4'
    assert np.abs(np.array(read(made)[1], int) - read(source)[1]).mean() < 2


@pytest.fixture
def ctrl_c():
    """Ctrl-C interrupts, also where the tests were started in the background, which ignores it."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.mark.usefixtures('ctrl_c')
def test_interrupted_video_leaves_nothing(weights, make_video, tmp_path, monkeypatch, run):
    source = make_video(tmp_path / 'a.mp4', dark())
    write = VideoWriter.write

    def press_after_three(writer: VideoWriter, pixels: np.ndarray, time: int) -> None:
        assert [name[-5:] for name in os.listdir(tmp_path / 'out')] == ['.part']
        write(writer, pixels, time)
        if time >= 3 * writer.kind.time_base.denominator // 10:
            signal.raise_signal(signal.SIGINT)

    monkeypatch.setattr(VideoWriter, 'write', press_after_three)
    with pytest.raises(KeyboardInterrupt):
        run(weights, source, out=str(tmp_path / 'out') + '/')
    assert not os.listdir(tmp_path / 'out')
