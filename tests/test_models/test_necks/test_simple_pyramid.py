"""Pyramids of one map."""

from pathlib import Path

import pytest
import torch

from saga_mm.loading.build import build_model
from saga_mm.loading.config import load_config
from saga_mm.loading.stack import require_stack
from saga_mm.models.necks import SimplePyramid

CONFIGS = Path(__file__).parents[3] / 'configs'


def test_sizes_of_a_rectangle():
    neck = SimplePyramid(16, 12, num_outs=5)
    outs = neck([torch.randn(1, 8, 3, 3), torch.randn(2, 16, 5, 7)])
    assert [out.shape for out in outs] == [(2, 12, h, w) for h, w in ((20, 28), (10, 14), (5, 7), (3, 4), (2, 2))]
    sum(out.square().mean() for out in outs).backward()
    assert all(p.grad is not None for p in neck.parameters())


def test_levels_are_normed_over_channels():
    out = SimplePyramid(16, 12, scales=(2,))([torch.randn(1, 16, 4, 3)])[0]
    torch.testing.assert_close(out.mean(1), torch.zeros(1, 8, 6), rtol=0, atol=1e-5)


def test_the_large_level_is_made_in_two_steps():
    neck = SimplePyramid(16, 12, scales=(4,))
    kinds = [type(layer).__name__ for layer in neck.levels[0]]
    assert kinds == ['ConvTranspose2d', 'MapNorm', 'GELU', 'ConvTranspose2d', 'Conv2d', 'MapNorm', 'Conv2d', 'MapNorm']


def test_bad_arguments_are_named():
    with pytest.raises(ValueError, match=r'scales=\(3,\) must be some of'):
        SimplePyramid(16, scales=(3,))
    with pytest.raises(ValueError, match='num_outs=2 is fewer than the 4 scales'):
        SimplePyramid(16, num_outs=2)
    with pytest.raises(ValueError, match='channels'):
        SimplePyramid(16)([torch.randn(1, 8, 4, 4)])


@pytest.fixture(scope='module')
def vit():
    require_stack('mmdet', 'mmseg')
    arch = dict(embed_dims=(16,), depths=(2,), num_heads=(2,), mlp_ratios=(2,))
    backbone = dict(type='saga_mm.ViT', arch=arch, pretrain_img_size=64, drop_path_rate=0.0)
    return backbone, dict(type='saga_mm.SimplePyramid', in_channels=16)


def test_serves_mask_rcnn(vit):
    cfg = load_config(CONFIGS / 'transfer' / 'mask-rcnn_saga-pvt-mini_fpn_1k_coco-tiny.py')
    cfg.model.backbone, cfg.model.neck = vit[0], dict(**vit[1], out_channels=64, num_outs=5)
    cfg.model.train_cfg.rpn_proposal.update(nms_pre=20, max_per_img=10)
    model = build_model(cfg).train()
    from mmdet.testing import demo_mm_inputs

    batch = demo_mm_inputs(2, [(3, 64, 96), (3, 64, 80)], num_classes=80, with_mask=True)
    losses, _ = model.parse_losses(model(**model.data_preprocessor(batch, True), mode='loss'))
    losses.backward()
    assert losses.isfinite() and all(p.grad is not None for p in model.neck.parameters())


def test_serves_upernet(vit):
    cfg = load_config(CONFIGS / 'transfer' / 'upernet_saga-pvt-mini_1k_camvid-144x192.py')
    cfg.model.backbone, cfg.model.neck = vit[0], dict(**vit[1], out_channels=32)
    cfg.model.decode_head.in_channels, cfg.model.auxiliary_head.in_channels = [32] * 4, 32
    model = build_model(cfg).eval()
    with torch.no_grad():
        scores = model(torch.randn(1, 3, 64, 96))
    assert scores.shape == (1, 11, 16, 24)
