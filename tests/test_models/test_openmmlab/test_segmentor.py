"""Segmentation models in strips against their own whole pass."""

import pytest
import torch
from mmseg.models import build_segmentor
from mmseg.utils import register_all_modules

from saga_mm.models.openmmlab import segment_rows, segmentor_parts
from saga_mm.rows import AppliedRows, ImageRows, MemoryTooSmallError, RowRunner, Storage, plan_runner, watch_rows

TINY = dict(embed_dims=(8, 16, 24, 32), depths=(1, 1, 1, 1), num_heads=(1, 2, 2, 2))
PVT = dict(type='saga_mm.PVT', arch=dict(TINY, mlp_ratios=(4, 2, 2, 2), sr_ratios=(8, 4, 2, 1)), attention='saga')
RAVLT = dict(type='saga_mm.RAVLT', arch=dict(TINY, mlp_ratios=(2,) * 4, layer_scales=(1.0,) * 4))
GN = dict(type='GN', num_groups=4)
BN = dict(type='SyncBN')
HEAD = dict(channels=8, num_classes=5, in_index=[0, 1, 2, 3], dropout_ratio=0.1, align_corners=False)
UPER = dict(HEAD, type='UPerHead', in_channels=[8, 16, 24, 32], pool_scales=(1, 2, 3, 6), norm_cfg=GN)
SEMANTIC = dict(HEAD, type='FPNHead', in_channels=[8] * 4, feature_strides=[4, 8, 16, 32], norm_cfg=BN)
FPN = dict(in_channels=[8, 16, 24, 32], out_channels=8, num_outs=4)
PYRAMID = dict(type='saga_mm.SAGAPyramid', in_channels=[8, 16, 24, 32], embed_dims=16, num_heads=2)
MODELS = {
    'uper': (PVT, None, UPER),
    'uper-bn-corners': (PVT, None, dict(UPER, norm_cfg=BN, align_corners=True)),
    'uper-pyramid': (PVT, PYRAMID, UPER),
    'uper-rala-pyramid': (RAVLT, dict(PYRAMID, attention='rala'), UPER),
    'semantic-fpn': (PVT, dict(FPN, type='FPN', norm_cfg=GN), SEMANTIC),
    'fcn': (PVT, None, dict(HEAD, type='FCNHead', in_channels=32, in_index=3, norm_cfg=GN)),
    'semantic-saga-fpn': (PVT, dict(FPN, type='saga_mm.SAGAFPN', embed_dims=16, num_heads=2), SEMANTIC),
}


def build(name):
    register_all_modules()
    torch.manual_seed(0)
    backbone, neck, head = MODELS[name]
    model = build_segmentor(dict(type='EncoderDecoder', backbone=backbone, neck=neck, decode_head=head)).double().eval()
    for key, value in model.state_dict().items():
        if value.is_floating_point():
            torch.nn.init.normal_(value, std=0.3)
        if 'running_var' in key:
            value.abs_().add_(0.5)
    return model


def image(height, width, batch=1):
    torch.manual_seed(1)
    x = torch.randn(batch, 3, height, width, dtype=torch.float64)
    return x, ImageRows(lambda start, stop: x[:, :, start:stop], height, width, batch)


@pytest.mark.parametrize('name', MODELS)
@pytest.mark.parametrize('rows', [1, 3])
def test_equals_the_whole_pass(name, rows, tmp_path):
    model = build(name)
    x, source = image(101, 75)
    with torch.no_grad():
        whole = model.decode_head(model.extract_feat(x))
        scores = segment_rows(model, source, RowRunner(Storage(0, tmp_path), rows=rows))
        strips = torch.cat([scores.plane(i, min(i + 4, scores.height)) for i in range(0, scores.height, 4)], dim=2)
    assert strips.shape == whole.shape
    assert (strips - whole).norm() <= 1e-9 * whole.norm()
    assert torch.equal(strips.argmax(1), whole.argmax(1))
    assert not list(tmp_path.iterdir())


def test_a_plan_keeps_within_its_memory_and_names_the_smallest_that_works():
    model = build('uper-pyramid')
    x, source = image(160, 96)
    with pytest.raises(MemoryTooSmallError) as error:
        plan_runner(segmentor_parts(model, 1, 160, 96), 1, 1000)
    smallest = error.value.smallest
    runner = plan_runner(segmentor_parts(model, 1, 160, 96), 1, smallest)
    with torch.no_grad():
        scores = segment_rows(model, source, runner)
        assert isinstance(scores, AppliedRows)
        whole = model.decode_head(model.extract_feat(x))
        assert (scores.plane(0, scores.height) - whole).norm() <= 1e-9 * whole.norm()


@pytest.mark.parametrize('name', ['uper-rala-pyramid', 'semantic-saga-fpn'])
def test_who_watches_is_told_of_all_the_work(name):
    model, source, shares = build(name), image(96, 64)[1], []
    with watch_rows(shares.append):
        segment_rows(model, source, plan_runner(segmentor_parts(model, 1, 96, 64), 1, 2**22))
        assert len(set(shares)) > 20 and shares == sorted(shares) and 0 < shares[0] < 0.1
        assert 0.95 < shares[-1] <= 1
    count = len(shares)
    segment_rows(model, source, plan_runner(segmentor_parts(model, 1, 96, 64), 1, 2**22))
    assert len(shares) == count


@pytest.mark.parametrize(
    ('part', 'cfg', 'message'),
    [
        ('decode_head', dict(HEAD, type='PSPHead', in_channels=32, in_index=3), 'head PSPHead does not run in strips'),
        ('decode_head', dict(UPER, norm_cfg=dict(type='IN')), 'InstanceNorm2d does not run in strips'),
        ('neck', dict(type='MultiLevelNeck', in_channels=[8, 16, 24, 32], out_channels=8), 'neck MultiLevelNeck'),
        ('neck', dict(FPN, type='FPN', num_outs=5), 'num_outs=4'),
        ('neck', dict(FPN, type='FPN', upsample_cfg=dict(mode='bicubic')), "use 'bilinear' or 'nearest'"),
        ('backbone', dict(type='ResNetV1c', depth=18), 'backbone ResNetV1c does not run in strips'),
    ],
)
def test_what_does_not_run_in_strips_is_refused_by_name(part, cfg, message):
    register_all_modules()
    parts = dict(backbone=PVT, decode_head=UPER)
    model = build_segmentor(dict(type='EncoderDecoder', **{**parts, part: cfg})).eval()
    with pytest.raises(ValueError, match=message):
        segmentor_parts(model, 1, 64, 64)


def test_refuses_a_model_in_training():
    with pytest.raises(ValueError, match='evaluation mode'):
        segment_rows(build('uper').train(), image(32, 32)[1], RowRunner())
