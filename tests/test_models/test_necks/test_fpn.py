"""SAGAFPN beside mmdet's FPN, and in the detectors that take one."""

from pathlib import Path

import pytest
import torch
from mmdet.models.necks import FPN
from mmdet.testing import demo_mm_inputs
from mmengine.registry import MODELS as ANY_MODELS

from saga_mm.analysis.cost import measure_cost
from saga_mm.loading.build import build_model
from saga_mm.loading.config import load_config
from saga_mm.models.necks import SAGAFPN, SAGAPyramid

CHANNELS = [8, 16, 24, 32]
MODES = [
    dict(num_outs=5),
    dict(num_outs=4),
    dict(num_outs=6, add_extra_convs=True),
    dict(num_outs=5, start_level=1, add_extra_convs='on_input'),
    dict(num_outs=6, start_level=1, add_extra_convs='on_lateral', relu_before_extra_convs=True),
    dict(num_outs=6, add_extra_convs='on_output', relu_before_extra_convs=True),
    dict(num_outs=2, start_level=1, end_level=2),
    dict(num_outs=5, norm_cfg=dict(type='GN', num_groups=4), no_norm_on_lateral=True),
    dict(num_outs=5, norm_cfg=dict(type='GN', num_groups=4), act_cfg=dict(type='ReLU')),
    dict(num_outs=5, upsample_cfg=dict(mode='bilinear', align_corners=False)),
]


def pyramid(height=50, width=74):
    torch.manual_seed(0)
    sides = [(-(-height // s), -(-width // s)) for s in (4, 8, 16, 32)]
    return [torch.randn(1, c, *side) for c, side in zip(CHANNELS, sides)]


@pytest.mark.parametrize('mode', MODES, ids=str)
def test_starts_as_the_fpn_whose_weights_it_loads(mode):
    torch.manual_seed(0)
    published = FPN(CHANNELS, 16, **mode).eval()
    published.init_weights()
    ours = SAGAFPN(CHANNELS, 16, embed_dims=16, num_heads=2, **mode).eval()
    ours.init_weights()
    missing, unexpected = ours.load_state_dict(published.state_dict(), strict=False)
    assert not unexpected and missing and all(name.startswith('shared.') for name in missing)
    maps = pyramid()
    with torch.no_grad():
        theirs, outs = published(maps), ours(maps)
        assert len(outs) == mode['num_outs']
        assert all(torch.equal(a, b) for a, b in zip(theirs, outs, strict=True))
        torch.nn.init.normal_(ours.shared.leave[0].weight)
        assert not torch.equal(ours(maps)[0], outs[0])


def test_every_parameter_learns():
    neck = SAGAFPN(CHANNELS, 16, 6, add_extra_convs='on_output', embed_dims=16, num_heads=2)
    neck.init_weights()
    for layer in neck.shared.leave:
        torch.nn.init.normal_(layer.weight, std=0.1)
    sum(out.square().sum() for out in neck(pyramid(33, 97))).backward()
    for name, parameter in neck.named_parameters():
        assert parameter.grad is not None and parameter.grad.abs().sum() > 0, name


def test_initialisation_leaves_the_shared_state_alone():
    neck = SAGAFPN(CHANNELS, 16, 4, embed_dims=16, num_heads=2)
    built = {name: value.clone() for name, value in neck.state_dict().items()}
    neck.init_weights()
    for name, value in neck.state_dict().items():
        if name.endswith('conv.weight'):
            assert not torch.equal(value, built[name]), name
        if name.startswith('shared.'):
            assert torch.equal(value, built[name]), name


@pytest.mark.parametrize('listed', [False, True])
def test_a_checkpoint_reaches_the_shared_state(listed, tmp_path):
    trained = SAGAFPN(CHANNELS, 16, 4, embed_dims=16, num_heads=2)
    torch.nn.init.normal_(trained.shared.leave[0].weight)
    torch.save({'state_dict': trained.state_dict()}, tmp_path / 'neck.pth')
    init_cfg = dict(type='Pretrained', checkpoint=str(tmp_path / 'neck.pth'))
    neck = SAGAFPN(CHANNELS, 16, 4, embed_dims=16, num_heads=2, init_cfg=[init_cfg] if listed else init_cfg)
    neck.init_weights()
    assert torch.equal(neck.shared.leave[0].weight, trained.shared.leave[0].weight)


@pytest.mark.parametrize(
    ('options', 'message'),
    [
        (dict(num_outs=3), 'fewer than the 4 levels'),
        (dict(num_outs=4, end_level=2), 'allows for 3 outputs'),
        (dict(num_outs=4, start_level=4), 'must be levels of the 4 inputs'),
        (dict(num_outs=4, start_level=3, end_level=2), 'fewer than the 0 levels'),
        (dict(num_outs=5, add_extra_convs='on_top'), 'unknown add_extra_convs'),
        (dict(num_outs=4, num_heads=3), 'num_heads'),
    ],
)
def test_mistakes_are_named(options, message):
    with pytest.raises(ValueError, match=message):
        SAGAFPN(CHANNELS, 16, **options)
    with pytest.raises(ValueError, match='1 maps were given where in_channels names 4'):
        SAGAFPN(CHANNELS, 16, 4)(pyramid()[:1])
    with pytest.raises(ValueError, match=r'maps of .* channels were given'):
        SAGAFPN(CHANNELS, 16, 4)(pyramid()[::-1])


def test_costs_as_much_as_the_fpn_and_the_shared_state():
    mode = dict(num_outs=6, add_extra_convs='on_output')
    maps = pyramid()
    laterals = [torch.empty(1, 16, *x.shape[2:]) for x in maps]
    macs = [
        measure_cost(neck, inputs).macs
        for neck, inputs in (
            (SAGAFPN(CHANNELS, 16, embed_dims=16, num_heads=2, **mode), maps),
            (FPN(CHANNELS, 16, **mode), maps),
            (SAGAPyramid([16] * 4, embed_dims=16, num_heads=2), laterals),
        )
    ]
    assert macs[0] == macs[1] + macs[2]


@pytest.mark.parametrize(
    ('file', 'options'),
    [
        (Path(__file__).parents[2] / 'tiny.py', {}),
        ('coco/retinanet_saga-pvt-t_fpn_1x_coco.py', {'model.bbox_head.stacked_convs': 1}),
    ],
    ids=['mask-rcnn', 'retinanet'],
)
def test_stands_where_an_fpn_does(file, options):
    torch.manual_seed(0)
    shared = {'model.neck.type': 'saga_mm.SAGAFPN', 'model.neck.embed_dims': 16, 'model.neck.num_heads': 2}
    model = build_model(load_config(file, {**options, **shared})).train()
    assert isinstance(model.neck, SAGAFPN)
    two_stage = hasattr(model, 'roi_head')
    classes = (model.roi_head if two_stage else model).bbox_head.num_classes
    batch = demo_mm_inputs(1, [(3, 64, 50)], num_classes=classes, with_mask=two_stage)
    losses = model(**model.data_preprocessor(batch, training=True), mode='loss')
    total, _ = model.parse_losses(losses)
    total.backward()
    assert total.isfinite()
    for layer in model.neck.shared.leave:
        assert layer.weight.grad.isfinite().all() and layer.weight.grad.abs().sum() > 0


def test_is_found_by_name_from_anywhere():
    neck = ANY_MODELS.build(dict(type='saga_mm.SAGAFPN', in_channels=CHANNELS, out_channels=8, num_outs=4))
    assert isinstance(neck, SAGAFPN)
