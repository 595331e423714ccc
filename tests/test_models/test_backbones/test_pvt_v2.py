"""PVTv2 as a host: parity with mmdet (with the published models: ``test_loading/test_convert.py``), and the rest."""

import pytest
import torch
from torch import nn

from saga_mm import create_backbone
from saga_mm.models.attention import FocusedLinearAttention
from saga_mm.models.backbones import PVTv2, pvt, pvt_v2

SMALL = {
    'embed_dims': (8, 16, 24, 32),
    'depths': (1, 2, 1, 1),
    'num_heads': (1, 2, 3, 4),
    'mlp_ratios': (2, 2, 2, 2),
    'sr_ratios': (8, 4, 2, 1),
}


@pytest.mark.parametrize('size', [(224, 224), (96, 160)])
@pytest.mark.parametrize(
    ('name', 'module', 'theirs', 'dims'),
    [
        ('pvt_tiny', pvt, 'PyramidVisionTransformer', 64),
        ('pvt_v2_b0', pvt_v2, 'PyramidVisionTransformerV2', 32),
    ],
)
def test_softmax_equals_that_of_mmdet(golden, name, module, theirs, dims, size):
    mmdet = pytest.importorskip('mmdet.models.backbones.pvt')
    state = golden(name).state
    net = create_backbone(name).eval()
    net.load_state_dict(module.published_state(state))
    other = getattr(mmdet, theirs)(embed_dims=dims, num_layers=[2, 2, 2, 2]).eval()
    other.load_state_dict(mmdet.pvt_convert(state))
    for path, layer in other.named_modules():
        # mmdet gives all norms the epsilon that the published model gives those of its blocks
        if isinstance(layer, nn.LayerNorm) and path.endswith(('.0.norm', '.attn.norm')):
            layer.eps = 1e-5
    image = torch.randn(1, 3, *size)
    with torch.no_grad():
        for mine, out in zip(net(image), other(image), strict=True):
            assert ((mine - out).norm() / out.norm()).item() < 1e-5


@pytest.mark.parametrize(
    ('name', 'published'),
    [
        ('flatten_pvt_v2_b0', 3_594_824),
        ('flatten_pvt_v2_b1', 12_931_240),
        ('flatten_pvt_v2_b2', 22_548_264),
        ('flatten_pvt_v2_b3', 38_273_832),
        ('flatten_pvt_v2_b4', 51_836_968),
        ('pvt_v2_b0', 3_666_760),
        ('pvt_v2_b1', 14_009_000),
        ('pvt_v2_b2', 25_362_856),
        ('pvt_v2_b3', 45_238_696),
        ('pvt_v2_b4', 62_556_072),
        ('pvt_v2_b5', 81_956_008),
    ],
)
def test_parameter_counts_are_the_published_ones(name, published):
    with torch.device('meta'):
        net = create_backbone(name)
    head = 1000 * (net.embed_dims[-1] + 1)
    assert sum(p.numel() for p in net.parameters()) + head == published


def test_what_leaves_a_stage_is_normed_and_goes_on():
    net = PVTv2(SMALL).eval()
    seen = {}
    net.stages[1].embed.register_forward_pre_hook(lambda _, args: seen.update(entered=args[0]))
    with torch.no_grad():
        outs = net(torch.randn(1, 3, 64, 64))
    assert torch.equal(seen['entered'], outs[0])
    assert outs[0].mean(1).abs().max() < 1e-5 and (outs[0].var(1, correction=0) - 1).abs().max() < 0.01


def test_focused_mixers_take_the_map_of_the_pretraining_size():
    net = PVTv2(SMALL, attention=['focused', 'softmax', 'focused', {'type': 'focused', 'table_size': (4, 6)}])
    tables = [
        stage.blocks[0].attn.table_size
        for stage in net.stages
        if isinstance(stage.blocks[0].attn, FocusedLinearAttention)
    ]
    assert tables == [(56, 56), (14, 14), (4, 6)]


def test_an_unknown_arch_is_answered_with_the_known_ones():
    with pytest.raises(ValueError, match="unknown arch 'tiny'; choose one of b0, b1"):
        PVTv2('tiny')
