import json

import numpy as np
import pytest
import torch

from benchmarks.video_report import STAGES, photograph, report_video, time_video, write_clip
from saga_mm.errors import SagaError
from saga_mm.images.video_reader import VideoReader
from saga_mm.models.enhancement.weight_files import build_enhancer, load_weights, save_weights
from saga_mm.tasks.enhancement.video import VideoEnhancer

ARCH = {'embed_dims': (8, 8, 16), 'depths': (1, 1, 1), 'num_heads': (0, 1, 2), 'mlp_ratio': 2}
CONFIG = {'backbone': {'type': 'saga_mm.SAGAUNet', 'arch': ARCH}}


@pytest.fixture
def weights(tmp_path) -> str:
    torch.manual_seed(0)
    model = build_enhancer(CONFIG)
    torch.nn.init.constant_(model.head.conv.bias[:12], 1.0)
    save_weights(tmp_path / 'small.npz', CONFIG, model.state_dict())
    return str(tmp_path / 'small.npz')


def test_report(weights, tmp_path, capsys):
    speed, flicker = report_video((24, 33), 3, weights, 'cpu', tmp_path / 'out')
    out, err = capsys.readouterr()
    text = (tmp_path / 'out' / 'video.md').read_text()
    assert text in out and '\r' not in err
    assert '| 33 x 24, 3 frames |' in text and f'weights {weights}, cpu:' in text
    written = json.loads((tmp_path / 'out' / 'video.json').read_text())
    assert (written['height'], written['width'], written['frames']) == (24, 33, 3)
    assert tuple(written['seconds']) == STAGES and min(written['seconds'].values()) > 0
    assert written['frames_per_second'] == pytest.approx(3 / sum(speed.seconds.values()))
    assert f'{speed.rate:.2f} frames a second' in text
    assert written['flicker'] == flicker._asdict() and 0 < flicker.carried < flicker.alone


def test_the_video_is_enhanced_as_ever(weights, tmp_path):
    model = load_weights(weights)
    frames = [photograph(32, 48) // 8 + np.uint8(i) for i in range(5)]
    told = []
    source = write_clip(tmp_path / 'a.mp4', (32, 48), frames, lambda: told.append(1))
    speed = time_video(model, source, tmp_path / 'b.mp4', lambda: told.append(2))
    assert told == [1] * 5 + [2] * 5 and (speed.height, speed.width, speed.frames) == (32, 48, 5)
    enhance = VideoEnhancer(model)
    with VideoReader(source) as before, VideoReader(tmp_path / 'b.mp4') as after:
        pairs = list(zip(before.read(), after.read()))
    assert len(pairs) == 5
    for dark, bright in pairs:
        expected = enhance(dark.pixels).mean((0, 1))
        assert expected.mean() > 1.3 * dark.pixels.mean()
        assert np.abs(bright.pixels.mean((0, 1)) - expected).max() < 6


def test_bad_options(tmp_path):
    for size, count, weights, said in (
        ((0, 8), 3, 'tiny', 'size=0 8'),
        ((8, 8), 1, 'tiny', '--repeats 1: frames of a video; must be at least 2'),
        ((8, 8), 2, 'none.npz', 'weights none.npz: no such file'),
    ):
        with pytest.raises(SagaError, match=said):
            report_video(size, count, weights, 'cpu', tmp_path)
    assert not list(tmp_path.iterdir())
