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
from saga_mm.models.segmentation import label_by_rows

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


def build(test_cfg=WHOLE, padding=None, kind='EncoderDecoder', head=None, **more):
    register_all_modules()
    torch.manual_seed(0)
    cfg = dict(
        type=kind,
        data_preprocessor=dict(type='SegDataPreProcessor', mean=[120.0] * 3, std=[60.0] * 3, test_cfg=padding),
        backbone=dict(type=Patches),
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
def strips(request, monkeypatch):
    monkeypatch.setattr('saga_mm.models.strips.segmentor.CHUNK_BYTES', request.param)


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
def test_scores_of_all_classes_never_have_the_size_of_the_image(monkeypatch, ori_shape):
    scores = 50 * 256 * 192 * 4
    # strips of about an eighth of that
    monkeypatch.setattr('saga_mm.models.strips.segmentor.CHUNK_BYTES', scores // 2)
    model = build(head=dict(num_classes=50, channels=4))
    inputs, found = torch.empty(1, 3, 256, 192, device='meta'), samples(img_shape=(256, 192), ori_shape=ori_shape)
    own = measure_cost(model, inputs, copy.deepcopy(found), mode='predict')
    assert label_by_rows(model)
    rows = measure_cost(model, inputs, found, mode='predict')
    # scores at a quarter of the sides, and of a strip what is read, resized and compared
    assert rows.largest.bytes < scores / 6 < scores <= own.largest.bytes
    assert rows.peak_bytes < scores < own.peak_bytes


def test_of_scores_larger_than_the_picture_strips_are_small_too(monkeypatch):
    monkeypatch.setattr('saga_mm.models.strips.segmentor.CHUNK_BYTES', 50 * 256 * 192 * 4)
    model = build(head=dict(num_classes=50))
    label_by_rows(model)
    found = samples(img_shape=(256, 192), ori_shape=(16, 192))
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
