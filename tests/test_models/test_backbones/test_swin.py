"""Swin as a host: parity with the published models and with mmdet; and what it has in common with CSwin."""

import re

import pytest
import torch

from saga_mm import create_backbone
from saga_mm.models.attention import FocusedLinearAttention, SAGAAttention, WindowAttention
from saga_mm.models.backbones import CSwin, Swin, cswin
from saga_mm.models.backbones.layers import DropPath
from saga_mm.models.backbones.swin import VARIANTS, published_state

SMALL = {'embed_dims': (8, 16, 24, 32), 'depths': (1, 2, 2, 1), 'num_heads': (1, 2, 3, 4)}
MIXERS = ['saga', 'focused', 'linear', 'softmax', {'type': 'window', 'borders': 'mmdet'}, 'cross_window']


both = pytest.mark.parametrize('host', [Swin, CSwin])


def relative(mine, stored):
    return ((mine - stored).norm() / stored.norm()).item()


def test_equals_the_published_model(golden):
    case = golden('flatten_swin_t')
    net = create_backbone('flatten_swin_tiny', out_indices=(3,)).eval()
    net.load_state_dict(published_state(case.state))
    errors = case.errors(net, case.outputs)
    assert len(errors) == 5 and max(errors.values()) < 1e-5, errors


@pytest.mark.parametrize(
    ('name', 'published'),
    [
        ('flatten_swin_tiny', 29_192_384),
        ('flatten_swin_small', 50_510_288),
        ('flatten_swin_base', 88_972_488),
        ('flatten_swin_base_384', 91_433_928),
        ('swin_tiny', 28_288_354),
        ('swin_small', 49_606_258),
        ('swin_base', 87_768_224),
        ('swin_base_384', 87_903_584),
    ],
)
def test_parameter_counts_are_the_published_ones(name, published):
    with torch.device('meta'):
        net = create_backbone(name, out_indices=(3,))
    head = 1000 * (net.embed_dims[-1] + 1)
    assert sum(p.numel() for p in net.parameters()) + head == published


def published_layout(net):
    """The weights under the names of the published detector."""
    state, ours = {}, net.state_dict()
    for key, value in ours.items():
        if '.attn.kv.' in key:
            continue
        if '.attn.q.' in key:
            value = torch.cat([value, ours[key.replace('.q.', '.kv.')]])
            key = key.replace('.q.', '.qkv.')
        key = key.replace('stages.0.embed', 'patch_embed').replace('out_norms.', 'norm')
        key = re.sub(r'stages\.(\d)\.embed', lambda match: f'layers.{int(match[1]) - 1}.downsample', key)
        state[key.replace('stages.', 'layers.')] = value
    return state


@pytest.mark.parametrize('size', [(224, 224), (97, 161), (33, 70), (1, 1), (448, 300)])
@pytest.mark.parametrize('name', ['swin_tiny', 'swin_base_384'])
def test_softmax_equals_that_of_mmdet(name, size):
    mmdet = pytest.importorskip('mmdet.models.backbones.swin')
    torch.manual_seed(0)
    arch = {'embed_dims': (24, 48, 96, 192), 'depths': (2, 2, 3, 2), 'num_heads': (3, 6, 12, 24)}
    net = create_backbone(name, arch=arch).eval()
    window = VARIANTS[name].get('window_size', 7)
    for key, parameter in net.named_parameters():
        torch.nn.init.normal_(parameter, 0.0, 0.5 if parameter.ndim == 1 or 'table' in key else 0.1)
    state = published_layout(net)
    assert all(torch.equal(value, net.state_dict()[key]) for key, value in published_state(state).items())
    theirs = mmdet.SwinTransformer(
        embed_dims=24, depths=arch['depths'], num_heads=arch['num_heads'], window_size=window
    )
    converted = {key.removeprefix('backbone.'): value for key, value in mmdet.swin_converter(state).items()}
    missing, unexpected = theirs.load_state_dict(converted, strict=False)
    assert not unexpected and all(key.endswith('relative_position_index') for key in missing)
    # its eval() returns nothing
    theirs.eval()
    image = torch.randn(2, 3, *size)
    with torch.no_grad():
        for mine, other in zip(net(image), theirs(image), strict=True):
            assert relative(mine, other) < 1e-5


@both
@pytest.mark.parametrize('attention', MIXERS, ids=str)
@pytest.mark.parametrize('size', [(64, 64), (97, 161), (33, 70), (1, 1)])
def test_maps_at_any_size_and_a_gradient_for_every_parameter(host, attention, size):
    net = host(SMALL, attention=attention, drop_path_rate=0.0)
    outs = net(torch.randn(2, 3, *size))
    for i, out in enumerate(outs):
        # rounding up, stage by stage
        height, width = (-(-side // 2 ** (i + 2)) for side in size)
        assert out.shape == (2, SMALL['embed_dims'][i], height, width)
        assert out.is_contiguous() and out.isfinite().all()
    sum(out.square().mean() for out in outs).backward()
    for name, parameter in net.named_parameters():
        assert parameter.grad is not None and parameter.grad.isfinite().all(), name


@both
def test_sizes_may_change_between_calls(host):
    net = host(SMALL).eval()
    images = [torch.randn(1, 3, 128, 64), torch.randn(1, 3, 97, 150)]
    with torch.no_grad():
        first = [net(image) for image in images]
        again = [net(image) for image in reversed(images)][::-1]
    for a, b in zip(first, again, strict=True):
        assert all(torch.equal(x, y) for x, y in zip(a, b, strict=True))


@both
@pytest.mark.parametrize('dtype', [torch.float16, torch.bfloat16])
@pytest.mark.parametrize('attention', MIXERS, ids=str)
def test_half_precision_is_finite_and_autocast_close(host, attention, dtype):
    torch.manual_seed(0)
    net = host(SMALL, attention=attention).eval()
    image = torch.randn(1, 3, 97, 64)
    with torch.no_grad():
        exact = net(image)
        with torch.autocast('cpu', dtype=dtype):
            outs = net(image)
        assert all(out.isfinite().all() for out in net.to(dtype)(8 * image.to(dtype)))
    for out, ref in zip(outs, exact, strict=True):
        assert relative(out.float(), ref) < 0.05


@both
@pytest.mark.parametrize('attention', ['saga', 'softmax'])
def test_checkpointing_changes_no_gradient(host, attention):
    torch.manual_seed(0)
    plain = host(SMALL, attention=attention, drop_path_rate=0.0)
    saving = host(SMALL, attention=attention, drop_path_rate=0.0, with_cp=True)
    saving.load_state_dict(plain.state_dict())
    image = torch.randn(1, 3, 50, 66)
    for net in (plain, saving):
        sum(out.square().mean() for out in net(image)).backward()
    for a, b in zip(plain.parameters(), saving.parameters(), strict=True):
        assert torch.allclose(a.grad, b.grad, rtol=1e-4, atol=1e-6)


@both
@pytest.mark.parametrize('frozen', [-1, 0, 2])
def test_frozen_stages_neither_train_nor_leave_eval_mode(host, frozen):
    net = host(SMALL, frozen_stages=frozen).train()
    sum(out.sum() for out in net(torch.randn(1, 3, 64, 64))).backward()
    frozen_names = {name for name, p in net.named_parameters() if name.startswith('stages') and p.grad is None}
    prefixes = ('stages.0.embed',) if frozen == 0 else tuple(f'stages.{i}.' for i in range(max(frozen, 0)))
    assert frozen_names == {name for name, _ in net.named_parameters() if prefixes and name.startswith(prefixes)}
    assert [stage.training for stage in net.stages] == [i >= frozen for i in range(4)]


def test_published_hybrids_are_linear_in_the_first_two_stages():
    depths = {'arch': {**SMALL, 'depths': (2, 2, 2, 2)}}
    for prefix, linear in (('flatten_', FocusedLinearAttention), ('saga_', SAGAAttention)):
        net = create_backbone(f'{prefix}swin_base_384', **depths)
        kinds = [[type(block.attn) for block in stage.blocks] for stage in net.stages]
        assert kinds == [[linear] * 2, [linear] * 2, [WindowAttention] * 2, [WindowAttention] * 2]
        assert [(block.attn.window_size, block.attn.shift) for block in net.stages[2].blocks] == [(12, 0), (12, 6)]


def test_variants_carry_the_published_drop_path():
    with torch.device('meta'):
        nets = [create_backbone(f'saga_swin_{size}') for size in ('tiny', 'small', 'base', 'base_384')]
    rates = [max(m.rate for m in net.modules() if isinstance(m, DropPath)) for net in nets]
    assert rates == pytest.approx([0.2, 0.3, 0.5, 0.5])


@pytest.mark.parametrize('name', [*VARIANTS, *cswin.VARIANTS])
def test_every_variant_trains_at_an_odd_size(name):
    net = create_backbone(name, arch={**SMALL, 'depths': (1, 2, 2, 2)})
    outs = net(torch.randn(1, 3, 97, 161))
    sum(out.square().mean() for out in outs).backward()
    assert all(p.grad is not None and p.grad.isfinite().all() for p in net.parameters())
