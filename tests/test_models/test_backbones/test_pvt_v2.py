"""PVTv2 as a host: parity with the published models and with mmdet, shapes at any size, and what sets it apart."""

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
MIXERS = ['saga', 'focused', 'linear', 'softmax']


@pytest.mark.parametrize('name', ['pvt_v2_b0', 'flatten_pvt_v2_b0'])
def test_equals_the_published_model(golden, name):
    case = golden(name)
    net = create_backbone(name).eval()
    net.load_state_dict(pvt_v2.published_state(case.state))
    errors = case.errors(net, case.outputs)
    assert len(errors) == 5 and max(errors.values()) < 1e-5, errors


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


@pytest.mark.parametrize('attention', MIXERS)
@pytest.mark.parametrize('size', [(64, 64), (97, 161), (33, 70), (1, 1)])
def test_maps_at_any_size_and_a_gradient_for_every_parameter(attention, size):
    net = PVTv2(SMALL, attention=attention, drop_path_rate=0.0)
    outs = net(torch.randn(2, 3, *size))
    for i, out in enumerate(outs):
        # rounding up, stage by stage
        height, width = (-(-side // 2 ** (i + 2)) for side in size)
        assert out.shape == (2, SMALL['embed_dims'][i], height, width)
        assert out.is_contiguous() and out.isfinite().all()
    sum(out.square().mean() for out in outs).backward()
    for name, parameter in net.named_parameters():
        assert parameter.grad is not None, name


def test_sizes_may_change_between_calls():
    net = PVTv2(SMALL, attention='focused').eval()
    images = [torch.randn(1, 3, 224, 224), torch.randn(1, 3, 97, 50)]
    with torch.no_grad():
        first = [net(image) for image in images]
        again = [net(image) for image in reversed(images)][::-1]
    for a, b in zip(first, again, strict=True):
        assert all(torch.equal(x, y) for x, y in zip(a, b, strict=True))


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


@pytest.mark.parametrize('attention', ['focused', 'softmax'])
def test_checkpointing_changes_no_gradient(attention):
    plain = PVTv2(SMALL, attention=attention, drop_path_rate=0.0)
    saving = PVTv2(SMALL, attention=attention, drop_path_rate=0.0, with_cp=True)
    saving.load_state_dict(plain.state_dict())
    image = torch.randn(1, 3, 50, 66)
    for net in (plain, saving):
        sum(out.square().mean() for out in net(image)).backward()
    for a, b in zip(plain.parameters(), saving.parameters(), strict=True):
        assert torch.allclose(a.grad, b.grad, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize('frozen', [-1, 0, 2])
def test_frozen_stages_neither_train_nor_leave_eval_mode(frozen):
    net = PVTv2(SMALL, attention='focused', frozen_stages=frozen).train()
    sum(out.square().sum() for out in net(torch.randn(1, 3, 64, 64))).backward()
    still = {name for name, p in net.named_parameters() if p.grad is None}
    prefixes = ('stages.0.embed',) if frozen == 0 else tuple(f'stages.{i}.' for i in range(max(frozen, 0)))
    assert still == {name for name, _ in net.named_parameters() if prefixes and name.startswith(prefixes)}
    assert [stage.training for stage in net.stages] == [i >= frozen for i in range(4)]


@pytest.mark.parametrize('dtype', [torch.float16, torch.bfloat16])
@pytest.mark.parametrize('attention', MIXERS)
def test_half_precision_is_close_to_float32(attention, dtype):
    torch.manual_seed(0)
    net = PVTv2(SMALL, attention=attention).eval()
    image = torch.randn(1, 3, 96, 64)
    with torch.no_grad():
        exact = net(image)
        with torch.autocast('cpu', dtype=dtype):
            mixed = net(image)
        pure = net.to(dtype)(image.to(dtype))
    for outs in (mixed, pure):
        for out, ref in zip(outs, exact, strict=True):
            assert (out.float() - ref).norm() / ref.norm() < 0.03


def test_an_unknown_arch_is_answered_with_the_known_ones():
    with pytest.raises(ValueError, match="unknown arch 'tiny'; choose one of b0, b1"):
        PVTv2('tiny')
