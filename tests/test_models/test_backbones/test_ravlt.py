"""RAVLT as a host: parity with the published dense backbone (more: ``test_loading/test_convert.py``), and options."""

import pytest
import torch
from torch import nn

from saga_mm import create_backbone
from saga_mm.models.attention import RankAugmentedLinearAttention, RopeSoftmaxAttention
from saga_mm.models.backbones import RAVLT
from saga_mm.models.backbones.ravlt import ARCHS, published_state

SMALL = {
    'embed_dims': (8, 16, 24, 32),
    'depths': (1, 2, 1, 1),
    'num_heads': (1, 2, 3, 4),
    'mlp_ratios': (2, 2, 2, 2),
    'layer_scales': (1.0, 1.0, 0.5, 0.5),
}


def relative(case, name, mine):
    stored, step = case.output(name)
    mine = mine.flatten()[::step].double()
    return ((mine - stored).norm() / stored.double().norm()).item()


def test_equals_the_published_dense_backbone(golden):
    case = golden('glta_det_t')
    net = create_backbone('ravlt_tiny', norm_cfg={'type': 'SyncBN'}).eval()
    net.load_state_dict(published_state(case.state))
    with torch.no_grad():
        outs = net(case.image)
    for i, out in enumerate(outs, 1):
        assert relative(case, f'out{i}', out) < 1e-5


@pytest.mark.parametrize(
    ('name', 'published'),
    [('tiny', 14_897_768), ('small', 25_591_208), ('base', 48_241_288), ('large', 95_242_440)],
)
def test_parameter_counts_with_the_published_classifier(name, published):
    with torch.device('meta'):
        net = create_backbone(f'ravlt_{name}')
    dims = ARCHS[name]['embed_dims']
    projection, norm, head = (dims[-1] + 1) * 1024, 2 * 1024, 1025 * 1000
    # norms of the outputs belong to the dense backbone alone
    backbone = sum(p.numel() for p in net.parameters()) - 2 * sum(dims)
    assert backbone + projection + norm + head == published


@pytest.mark.parametrize('host', ['PVT', 'PVTv2', 'Swin', 'CSwin'])
@pytest.mark.parametrize('attention', ['rala', 'rope_softmax', 'mala'])
def test_its_mixers_run_in_the_other_hosts(host, attention):
    variant = {'PVT': 'pvt_tiny', 'PVTv2': 'pvt_v2_b0', 'Swin': 'swin_tiny', 'CSwin': 'cswin_tiny'}[host]
    net = create_backbone(variant, attention=attention, out_indices=(0, 1)).eval()
    with torch.no_grad():
        outs = net(torch.randn(1, 3, 33, 70))
    assert [out.shape[2:] for out in outs] == [(9, 18), (5, 9)] and all(out.isfinite().all() for out in outs)


def test_the_published_hybrid_is_the_default():
    mixers = [stage.blocks[0].attn for stage in RAVLT(SMALL).stages]
    assert [type(m) for m in mixers] == [RankAugmentedLinearAttention] * 2 + [RopeSoftmaxAttention] * 2
    names = [type(stage.blocks[0].attn).__name__ for stage in RAVLT(SMALL, attention='softmax').stages]
    assert names == ['RopeSoftmaxAttention'] * 4


@pytest.mark.parametrize('kind', ['BN', 'SyncBN'])
@pytest.mark.parametrize('frozen', [-1, 0, 2])
def test_frozen_stages_and_their_statistics_stay(kind, frozen):
    net = RAVLT(SMALL, frozen_stages=frozen, norm_cfg={'type': kind}).train()
    before = {name: buffer.clone() for name, buffer in net.named_buffers() if 'running_mean' in name}
    sum(out.square().mean() for out in net(torch.randn(2, 3, 64, 64))).backward()
    prefixes = ('stages.0.embed',) if frozen == 0 else tuple(f'stages.{i}.' for i in range(max(frozen, 0)))
    for name, parameter in net.named_parameters():
        assert (parameter.grad is None) == name.startswith(prefixes or '-'), name
    for name, buffer in net.named_buffers():
        if name in before:
            assert torch.equal(buffer, before[name]) == name.startswith(prefixes or '-'), name


@pytest.mark.parametrize('kind', ['BN', 'SyncBN'])
def test_norm_eval_keeps_the_statistics_but_trains_the_weights(kind):
    net = RAVLT(SMALL, norm_cfg={'type': kind}, norm_eval=True).train()
    before = [buffer.clone() for buffer in net.buffers()]
    sum(out.square().mean() for out in net(torch.randn(2, 3, 64, 64))).backward()
    assert all(torch.equal(a, b) for a, b in zip(before, net.buffers(), strict=True))
    assert net.stages[0].embed.proj[1].weight.grad.abs().sum() > 0
    assert net.stages[0].blocks[0].training


def test_norm_options_reach_the_layer():
    net = RAVLT(SMALL, norm_cfg={'type': 'BN', 'momentum': 0.01})
    norms = [module for module in net.modules() if isinstance(module, nn.BatchNorm2d)]
    assert len(norms) == 7 and all(norm.momentum == 0.01 for norm in norms)


def test_residual_scales_start_where_the_arch_says():
    net = RAVLT(SMALL)
    assert [stage.blocks[0].gamma_1[0].item() for stage in net.stages] == [1, 1, 0.5, 0.5]


@pytest.mark.parametrize(
    ('options', 'message'),
    [
        ({'arch': 'huge'}, "unknown arch 'huge'; choose one of tiny, small, base, large"),
        ({'arch': {**SMALL, 'num_heads': (4, 2, 3, 4)}}, '4 divides, got 2'),
        ({'norm_cfg': {'type': 'GN'}}, "unknown norm_cfg type 'GN'; choose one of BN, SyncBN"),
        ({'attention': ['rala']}, 'lists 1 entries for 4 stages'),
    ],
)
def test_bad_arguments_are_named(options, message):
    with pytest.raises(ValueError, match=message):
        RAVLT(**{'arch': SMALL, **options})
