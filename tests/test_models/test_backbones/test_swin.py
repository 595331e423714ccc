"""Swin: parity with mmdet; each variant of both, and of CSwin, trains. See ``test_loading/test_convert.py``."""

import re

import pytest
import torch

from saga_mm import create_backbone
from saga_mm.models.attention import FocusedLinearAttention, SAGAAttention, WindowAttention
from saga_mm.models.backbones import cswin
from saga_mm.models.backbones.blocks import DropPath
from saga_mm.models.backbones.swin import VARIANTS, published_state

SMALL = {'embed_dims': (8, 16, 24, 32), 'depths': (1, 2, 2, 1), 'num_heads': (1, 2, 3, 4)}


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
            assert (mine - other).norm() / other.norm() < 1e-5


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
