"""Labels made by rows against those that mmseg makes of the same scores."""

import copy

import pytest
import torch
from mmengine.config import ConfigDict
from mmseg.models import build_segmentor
from mmseg.structures import SegDataSample
from mmseg.utils import register_all_modules
from torch import nn

from saga_mm.analysis import measure_cost
from saga_mm.models.openmmlab.labels import label_by_rows
from saga_mm.rows import MemoryBudget, limit_chunks, watch_rows

HEAD = dict(type='FCNHead', in_channels=8, in_index=0, channels=8, num_classes=5, align_corners=False)
WHOLE = dict(mode='whole')
SLIDE = dict(mode='slide', crop_size=(32, 32), stride=(20, 20))
PADDED = dict(size=(64, 72))


class Patches(nn.Module):
    """A backbone whose only map has a quarter of the image's sides, rounded up."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Conv2d(3, 8, 5, 4, padding=2)

    def forward(self, x):
        return [self.layer(x)]


def build(test_cfg=WHOLE, padding=None, kind='EncoderDecoder', head=None, backbone=None, **more):
    register_all_modules()
    torch.manual_seed(0)
    cfg = dict(
        type=kind,
        data_preprocessor=dict(type='SegDataPreProcessor', mean=[120.0] * 3, std=[60.0] * 3, test_cfg=padding),
        backbone=backbone or dict(type=Patches),
        decode_head=head if isinstance(head, list) else {**HEAD, **(head or {})},
        test_cfg=test_cfg,
        **more,
    )
    model = build_segmentor(ConfigDict(cfg)).eval()
    for name, parameter in model.named_parameters():
        if 'conv_seg.bias' not in name:
            nn.init.normal_(parameter, std=0.2)
    return model


def samples(count=1, **meta):
    return [SegDataSample(metainfo=meta) for _ in range(count)]


def both(model, inputs, data_samples):
    """Samples of mmseg's own prediction and of that by rows, in float64 so that rounding decides nothing."""
    model = model.double()
    mine = copy.deepcopy(model)
    assert label_by_rows(mine)
    with torch.no_grad():
        return tuple(each.predict(inputs.double(), copy.deepcopy(data_samples)) for each in (model, mine))


@pytest.fixture(params=[2**15, 10**9], ids=['strips', 'at-once'])
def strips(request):
    with limit_chunks(request.param):
        yield


@pytest.mark.parametrize(
    'meta',
    [
        dict(ori_shape=(45, 67)),
        dict(ori_shape=(101, 150)),
        dict(ori_shape=(20, 31)),
        dict(ori_shape=(45, 30), img_padding_size=(3, 4, 5, 0)),
        dict(ori_shape=(45, 67), flip=True, flip_direction='horizontal', padding_size=(0, 7, 0, 2)),
        dict(ori_shape=(90, 61), flip=True, flip_direction='vertical', padding_size=(0, 7, 2, 5)),
        dict(ori_shape=(45, 67), flip=False, flip_direction=None),
        dict(ori_shape=(60, 70), pad_shape=(50, 70, 3)),
        dict(ori_shape=(45, 67), pad_shape=(50, 70, 3), img_shape=torch.Size((45, 67))),
        dict(ori_shape=(1, 1)),
        dict(ori_shape=(3, 200)),
    ],
    ids=str,
)
@pytest.mark.parametrize('head', [dict(), dict(align_corners=True), dict(num_classes=2, out_channels=1, threshold=0.6)])
def test_labels_are_those_of_mmseg(strips, meta, head):
    torch.manual_seed(1)
    inputs = torch.randn(2, 3, 45, 67)
    own, rows = both(build(head=head), inputs, samples(2, **{'img_shape': (45, 67), **meta}))
    for expected, found in zip(own, rows):
        labels = found.pred_sem_seg.data
        assert labels.shape == (1, *meta['ori_shape']) and labels.dtype == torch.int64
        assert torch.equal(labels, expected.pred_sem_seg.data.long())
        assert 'seg_logits' in expected and 'seg_logits' not in found
    assert min(meta['ori_shape']) < 20 or len(labels.unique()) > 1


def test_labels_without_data_samples(strips):
    torch.manual_seed(1)
    own, rows = both(build(), torch.randn(3, 3, 33, 50), None)
    assert len(rows) == 3
    assert all(torch.equal(a.pred_sem_seg.data, b.pred_sem_seg.data) for a, b in zip(own, rows))


def test_what_the_preprocessor_pads_is_cut_off(strips):
    torch.manual_seed(1)
    model = build(padding=PADDED)
    pictures = [torch.randint(0, 256, (3, 45, 67), dtype=torch.uint8) for _ in range(2)]
    kept = samples(2, img_shape=(45, 67), ori_shape=(61, 91))
    inputs, padded = model.data_preprocessor({'inputs': pictures, 'data_samples': kept}).values()
    assert inputs.shape[2:] == PADDED['size'] and padded[0].metainfo['pad_shape'] == PADDED['size']
    own, rows = both(model, inputs, padded)
    assert all(torch.equal(a.pred_sem_seg.data, b.pred_sem_seg.data) for a, b in zip(own, rows))


def test_a_sliding_window_stays_as_it_is():
    torch.manual_seed(1)
    own, rows = both(build(SLIDE), torch.randn(1, 3, 45, 67), samples(img_shape=(45, 67), ori_shape=(50, 60)))
    assert torch.equal(own[0].seg_logits.data, rows[0].seg_logits.data)


@pytest.mark.parametrize('ori_shape', [(256, 192), (320, 240)])
def test_scores_of_all_classes_never_have_the_size_of_the_image(ori_shape):
    scores = 50 * 256 * 192 * 4
    model = build(head=dict(num_classes=50, channels=4))
    inputs, found = torch.empty(1, 3, 256, 192, device='meta'), samples(img_shape=(256, 192), ori_shape=ori_shape)
    own = measure_cost(model, inputs, copy.deepcopy(found), mode='predict')
    assert label_by_rows(model)
    # strips of about an eighth of the scores
    with limit_chunks(scores // 2):
        rows = measure_cost(model, inputs, found, mode='predict')
    # scores at a quarter of the sides, and of a strip what is read, resized and compared
    assert rows.largest.bytes < scores / 6 < scores <= own.largest.bytes
    assert rows.peak_bytes < scores < own.peak_bytes


def test_of_scores_larger_than_the_picture_strips_are_small_too():
    model = build(head=dict(num_classes=50))
    label_by_rows(model)
    found = samples(img_shape=(256, 192), ori_shape=(16, 192))
    with limit_chunks(50 * 256 * 192 * 4):
        cost = measure_cost(model, torch.empty(1, 3, 256, 192, device='meta'), found, mode='predict')
    # as many rows of scores as strips of 4 of its own rows ask for, and some around them
    assert cost.largest.bytes < 50 * 76 * 192 * 4


@pytest.mark.parametrize(
    'other',
    [
        dict(head=dict(type='EncHead', in_channels=[8], in_index=[0], num_codes=4)),
        dict(kind='CascadeEncoderDecoder', num_stages=1, head=[HEAD]),
    ],
    ids=['head', 'model'],
)
def test_what_predicts_in_its_own_way_is_left_alone(other):
    model = build(**other)
    assert not label_by_rows(model) and 'predict' not in vars(model)


def test_other_models_are_left_alone():
    assert not label_by_rows(nn.Linear(1, 1))


PVT = dict(
    type='saga_mm.PVT',
    arch=dict(embed_dims=(8, 16, 24, 32), depths=(1,) * 4, num_heads=(1,) * 4, mlp_ratios=(2,) * 4, sr_ratios=(1,) * 4),
    attention='saga',
)
UPER = dict(type='UPerHead', in_channels=[8, 16, 24, 32], in_index=[0, 1, 2, 3], channels=16, pool_scales=(1, 2, 3, 6))


def in_strips(dtype=torch.float64, **more):
    """A budget that has everything done in strips."""
    return MemoryBudget(torch.device('cpu'), dtype=dtype, large=0, **more)


@pytest.mark.parametrize(
    'meta',
    [
        dict(ori_shape=(90, 67)),
        dict(ori_shape=(101, 150)),
        dict(ori_shape=(80, 60), flip=True, flip_direction='vertical', padding_size=(0, 7, 2, 5)),
    ],
    ids=str,
)
def test_in_strips_labels_are_those_of_mmseg(meta):
    torch.manual_seed(1)
    inputs, found = torch.randn(2, 3, 90, 67).double(), samples(2, **{'img_shape': (90, 67), **meta})
    whole = build(backbone=PVT, head=UPER).double()
    strips, budget, shares = copy.deepcopy(whole), in_strips(), []
    assert label_by_rows(strips, budget)
    with torch.no_grad(), watch_rows(shares.append):
        expected = whole.predict(inputs, copy.deepcopy(found))
        assert not shares
        labels = strips.predict(inputs, found)
    assert shares and budget.explain().endswith('maps in memory')
    for one, other in zip(expected, labels):
        assert torch.equal(one.pred_sem_seg.data, other.pred_sem_seg.data) and len(other.pred_sem_seg.data.unique()) > 2


def test_what_is_small_or_somebody_looks_into_is_run_in_one_piece():
    inputs, shares, whole = torch.randn(1, 3, 64, 64), [], []
    model = build(backbone=PVT, head=UPER)
    with watch_rows(shares.append), torch.no_grad():
        label_by_rows(model)
        model.predict(inputs)
        label_by_rows(model, in_strips(torch.float32))
        hook = model.backbone.register_forward_hook(lambda *_: whole.append(1))
        model.predict(inputs)
        assert whole == [1] and not shares
        hook.remove()
        model.predict(inputs)
    assert shares


@pytest.fixture
def told(monkeypatch):
    lines = []
    monkeypatch.setattr('saga_mm.models.openmmlab.labels.print_log', lambda line, **_: lines.append(line))
    return lines


@pytest.mark.parametrize(
    ('options', 'reason'),
    [
        (dict(), 'the backbone Patches does not run in strips; those of saga_mm do'),
        (dict(test_cfg=dict(mode='slide', crop_size=(64, 525_000), stride=(64, 525_000))), "test_cfg.mode is 'slide'"),
    ],
    ids=['backbone', 'slide'],
)
def test_a_large_image_that_cannot_run_in_strips_is_run_whole_and_one_line_says_why(told, options, reason):
    model = build(**options)
    label_by_rows(model, in_strips(torch.float32))
    with torch.no_grad():
        model.predict(torch.randn(1, 3, 64, 64))
        assert not told
        for _ in range(2):
            model.predict(torch.randn(1, 3, 8, 525_000))
    assert told == [f'525000 x 8 pixels are not segmented in strips: {reason}']


def test_a_limit_that_is_not_kept_is_said(told):
    model = build(kind='CascadeEncoderDecoder', num_stages=1, head=[HEAD])
    assert not label_by_rows(model, in_strips()) and not told
    assert not label_by_rows(model, in_strips(allowed=2**30))
    assert told == ['max_memory is not kept: CascadeEncoderDecoder predicts in a way of its own']
