from fractions import Fraction
from itertools import pairwise

import numpy as np
import pytest
import torch

from saga_mm.errors import SagaError
from saga_mm.images.video_kind import stated_size
from saga_mm.images.video_reader import VideoReader
from saga_mm.models.enhancement.finish import Finish
from saga_mm.models.enhancement.weight_files import build_enhancer
from saga_mm.rows import MemoryBudget
from saga_mm.tasks.enhancement.scene_cuts import CutDetector
from saga_mm.tasks.enhancement.video import LUMA, UNSEEN, VideoEnhancer, enhance_video, follow

ARCH = {'embed_dims': (8, 8, 16), 'depths': (1, 1, 1), 'num_heads': (0, 1, 2), 'mlp_ratio': 2}


def build(attention='saga'):
    torch.manual_seed(0)
    model = build_enhancer({'backbone': {'type': 'saga_mm.SAGAUNet', 'arch': ARCH, 'attention': attention}}).eval()
    for name, parameter in model.named_parameters():
        if parameter.ndim > 1:
            torch.nn.init.normal_(parameter, std=0.003 if name == 'head.conv.weight' else 0.3)
    torch.nn.init.constant_(model.head.conv.bias[:12], 0.8)
    return model


@pytest.fixture(scope='module')
def model():
    return build()


def scene(seed, count=6, size=(33, 46), noise=6, highest=110):
    """Frames of one scene with noise."""
    rng = np.random.default_rng(seed)
    cells = rng.integers(0, highest, (3, 4, 3)).repeat(-(-size[0] // 3), 0).repeat(-(-size[1] // 4), 1)
    cells = cells[: size[0], : size[1]]
    return [(cells + rng.normal(0, noise, cells.shape)).clip(0, 255).astype(np.uint8) for _ in range(count)]


def whole(model, frame, strength=1.0):
    image = torch.from_numpy(frame).permute(2, 0, 1)[None].float() / 255
    return (model.enhance(image, strength)[0].permute(1, 2, 0) * 255).round().byte().numpy()


def image(frame):
    return torch.from_numpy(frame).permute(2, 0, 1)[None].float() / 255


@pytest.mark.parametrize('strength', [0.0, 0.6, 1.0, 1.4])
def test_first_frame_is_as_a_picture(model, strength):
    frame = scene(0, 1)[0]
    answer = VideoEnhancer(model, Finish(strength))(frame)
    assert answer.dtype == np.uint8 and np.abs(answer.astype(int) - whole(model, frame, strength)).max() <= 1
    if strength == 0:
        assert np.array_equal(answer, frame)


def test_without_decay_each_frame_is(model):
    enhance = VideoEnhancer(model, decay=0.0)
    for frame in scene(0):
        assert np.abs(enhance(frame).astype(int) - whole(model, frame)).max() <= 1


def test_a_change_of_light_is_followed_slowly(model):
    frames = scene(0, 30, noise=0)
    enhance = VideoEnhancer(model, decay=0.8)
    start = enhance(frames[0]).mean()
    brighter = [(frame * 1.25).astype(np.uint8) for frame in frames]
    levels = [enhance(frame).mean() for frame in brighter]
    end = whole(model, brighter[0]).mean()
    assert enhance.scenes == 1 and end > 1.1 * start
    assert levels[0] < start + 0.4 * (end - start)
    assert all(first < second + 0.1 for first, second in pairwise(levels))
    assert levels[-1] == pytest.approx(end, rel=0.01)


def test_a_cut_starts_afresh(model):
    enhance = VideoEnhancer(model)
    first, second = scene(0), scene(1)
    answers = [enhance(frame) for frame in first + second]
    assert enhance.scenes == 2
    for i in (0, len(first)):
        assert np.abs(answers[i].astype(int) - whole(model, (first + second)[i])).max() <= 1
    enhance.reset()
    assert np.abs(enhance(second[0]).astype(int) - whole(model, second[0])).max() <= 1 and enhance.scenes == 3


def test_frames_of_another_size_are_another_scene(model):
    enhance = VideoEnhancer(model)
    for frame in (*scene(0, 2), *scene(0, 2, size=(20, 70))):
        assert enhance(frame).shape == frame.shape
    assert enhance.scenes == 2


def test_black_frames(model):
    enhance = VideoEnhancer(model)
    black = np.zeros((16, 24, 3), np.uint8)
    answers = [enhance(frame) for frame in (black, black, *scene(0, 2, (16, 24)), black)]
    # black is grey, and so is its answer
    grey = whole(model, black) @ np.array([0.299, 0.587, 0.114])
    assert np.abs(answers[0].astype(int) - grey[..., None]).max() <= 1.5


def test_memory_and_attention_are_checked(model):
    with pytest.raises(SagaError, match='max_memory=1MB: too little for 46 x 33'):
        VideoEnhancer(model, max_memory=2**20)(scene(0, 1)[0])
    with pytest.raises(SagaError, match='RankAugmentedLinearAttention'):
        VideoEnhancer(build('rala'))(scene(0, 1)[0])


def test_a_video_that_is_too_large_is_refused_before_it_is_decoded(model, make_video, tmp_path, monkeypatch):
    source = make_video(tmp_path / 'a.mp4', scene(0, 2, (32, 48)), 10, 'libx264', sound=None)
    assert stated_size(source) == (32, 48, 8) and stated_size(tmp_path) is None
    monkeypatch.setattr('saga_mm.tasks.enhancement.video.VideoReader', None)
    with pytest.raises(SagaError, match='max_memory=1MB: too little for 48 x 32'):
        enhance_video(source, tmp_path / 'b.mp4', model, max_memory=2**20)


def test_a_budget_is_asked_to_trim_after_strips(model):
    class Counting(MemoryBudget):
        trims = 0

        def trim(self):
            self.trims += 1

    budget = Counting.of(model)
    enhance = VideoEnhancer(model, max_memory=budget)
    enhance(scene(0, 1)[0])
    first = budget.trims
    enhance(scene(0, 1)[0])
    assert enhance.budget is budget and 10 < first < budget.trims


def cuts(frames):
    is_cut = CutDetector()
    return [i for i, frame in enumerate(frames) if is_cut(image(frame))]


@pytest.mark.parametrize('light', [1.0, 0.1])
def test_cuts_are_found_in_any_light(light):
    frames = [frame * light for seed in range(4) for frame in scene(seed, 5, highest=255)]
    assert cuts([frame.astype(np.uint8) for frame in frames]) == [5, 10, 15]


def test_what_is_no_cut():
    rng = np.random.default_rng(0)
    wide = scene(0, 1, (60, 400), noise=0)[0]
    wide = np.concatenate([wide, wide[:, ::-1]], 1)
    pan = [wide[:, 4 * i : 4 * i + 90] for i in range(60)]
    assert cuts(pan) == []
    fade = [(pan[0] * (1 - i / 25)).astype(np.uint8) for i in range(20)]
    assert cuts(fade) == []
    assert cuts(scene(1, 20, noise=40)) == []
    # so much noise in so few pixels that every frame is another
    assert cuts([rng.integers(0, 256, (12, 12, 3), np.uint8) for _ in range(2)]) == [1]
    assert len(cuts([rng.integers(0, 256, (24, 24, 3), np.uint8) for _ in range(30)])) == 0


def test_video_to_video(model, make_video, tmp_path):
    first, second = scene(0, 6, (32, 46)), scene(1, 4, (32, 46))
    source = make_video(tmp_path / 'a.mp4', first + second, 12, sound='aac', rotation=90, options={'crf': '4'})
    told, shown = [], []
    done = enhance_video(source, tmp_path / 'b.mp4', model, tell=told.append, show=lambda *frames: shown.append(frames))
    assert done == (46, 32, 10, 2, '', '')
    assert told == pytest.approx([(i + 1) / 10 for i in range(10)])
    enhance = VideoEnhancer(model)
    with VideoReader(tmp_path / 'b.mp4') as made:
        frames = list(made.read())
        assert made.kind[:3] == (46, 32, Fraction(12)) and len(made.sounds) == 1 and len(frames) == 10
    for made, (before, after) in zip(frames, shown):
        assert np.array_equal(after, enhance(before.pixels))
        # colours are stored at half the size
        assert np.abs(made.pixels.mean((0, 1)) - after.mean((0, 1))).max() < 6


def test_nothing_is_left_of_what_failed(make_video, tmp_path):
    source = make_video(tmp_path / 'a.mp4', scene(0, 3, (32, 46)))
    with pytest.raises(SagaError, match='RankAugmented'):
        enhance_video(source, tmp_path / 'b.mp4', build('rala'))
    assert [path.name for path in tmp_path.iterdir()] == ['a.mp4']


def test_a_grey_frame_stays_grey(model):
    frame = np.repeat(np.random.default_rng(0).integers(0, 60, (24, 32, 1), np.uint8), 3, axis=2)
    answer = VideoEnhancer(model)(frame)
    assert np.ptp(answer, axis=2).max() == 0 and answer.std() > 1


def test_a_brightness_is_kept_over_frames_whose_noise_changes(model):
    frames = scene(3, 6)
    wanted = Finish(brightness=0.5)
    levels = []
    for decay in (0.0, 0.9):
        enhance = VideoEnhancer(model, wanted, decay)
        levels.append([float((enhance(frame) / 255 @ np.array(LUMA)).mean()) for frame in frames])
    assert levels[0] == pytest.approx([0.5] * 6, abs=3e-3)
    assert levels[1] == pytest.approx([0.5] * 6, abs=2e-3)


def test_noise_is_not_followed_and_light_is():
    noise = np.random.default_rng(0).normal(0, UNSEEN / 5, 200)
    held, mean = [0.0], [0.0]
    for newest in noise:
        held.append(follow(held[-1], newest, 0.9))
        mean.append(0.9 * mean[-1] + 0.1 * newest)
    assert np.abs(np.diff(held)).mean() < 0.15 * np.abs(np.diff(mean)).mean()
    assert np.abs(held).max() < UNSEEN / 2
    level = 0.0
    for _ in range(40):
        level = follow(level, 0.5, 0.9)
    assert abs(level - 0.5) < 2 * UNSEEN
    assert follow(0.3, 0.3, 0.0) == 0.3 and follow(0.3, 0.301, 0.0) == pytest.approx(0.301)
    assert follow(0.0, -0.2, 0.9) == -follow(0.0, 0.2, 0.9)
