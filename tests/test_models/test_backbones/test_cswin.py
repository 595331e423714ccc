"""CSwin as a host. Parity with published models is in ``test_loading/test_convert.py``."""

import pytest
import torch

from saga_mm import create_backbone
from saga_mm.models.attention import CrossWindowAttention, FocusedLinearAttention, SAGAAttention
from saga_mm.models.backbones import CSwin
from saga_mm.models.backbones.blocks import DropPath
from saga_mm.models.backbones.cswin import published_state

SMALL = {'embed_dims': (8, 16, 24, 32), 'depths': (1, 2, 2, 1), 'num_heads': (2, 2, 4, 4)}


@pytest.mark.parametrize(
    ('name', 'published'),
    [
        ('flatten_cswin_tiny', 21_201_768),
        ('flatten_cswin_small', 35_451_752),
        ('flatten_cswin_base', 74_867_032),
        ('flatten_cswin_base_384', 78_369_112),
    ],
)
def test_parameter_counts_are_the_published_ones(name, published):
    with torch.device('meta'):
        net = create_backbone(name, out_indices=(3,))
    head = 1000 * (net.embed_dims[-1] + 1)
    assert sum(p.numel() for p in net.parameters()) + head == published


def published_layout(net):
    """The weights under the names of the published segmentation backbone."""
    state, ours = {}, net.state_dict()
    for key, value in ours.items():
        if '.attn.kv.' in key:
            continue
        if '.attn.q.' in key:
            value = torch.cat([value, ours[key.replace('.q.', '.kv.')]])
        key = key.replace('.attn.q.', '.qkv.').replace('.attn.proj.', '.proj.')
        key = key.replace('stages.0.embed.proj.', 'stage1_conv_embed.0.')
        key = key.replace('stages.0.embed.norm.', 'stage1_conv_embed.2.')
        for i in range(4):
            key = key.replace(f'stages.{i}.embed.proj.', f'merge{i}.conv.').replace(f'stages.{i}.embed.', f'merge{i}.')
            key = key.replace(f'stages.{i}.blocks.', f'stage{i + 1}.').replace(f'out_norms.{i}.', f'norm{i + 1}.')
        halves = value.chunk(2) if '.lepe.' in key and not key.startswith('stage4') else [value]
        state.update({key.replace('attn.lepe.', f'attns.{i}.get_v.'): half for i, half in enumerate(halves)})
    return state


def test_the_published_segmentation_backbone_finds_its_place():
    net = CSwin(SMALL, attention='softmax')
    ours = published_state(published_layout(net))
    assert ours.keys() == net.state_dict().keys()
    assert all(torch.equal(value, net.state_dict()[key]) for key, value in ours.items())


def test_published_hybrids_are_linear_in_the_first_two_stages():
    depths = {'arch': {**SMALL, 'depths': (2, 2, 2, 2)}}
    for prefix, linear in (('flatten_', FocusedLinearAttention), ('saga_', SAGAAttention)):
        net = create_backbone(f'{prefix}cswin_base_384', **depths)
        kinds = [[type(block.attn) for block in stage.blocks] for stage in net.stages]
        assert kinds == [[linear] * 2, [linear] * 2, [CrossWindowAttention] * 2, [CrossWindowAttention] * 2]
        assert [stage.blocks[0].attn.stripe_width for stage in net.stages[2:]] == [12, 0]


def test_variants_carry_the_published_depths_and_drop_path():
    with torch.device('meta'):
        nets = {
            f'{prefix}{size}': create_backbone(f'{prefix}{size}')
            for prefix in ('cswin_', 'flatten_cswin_', 'saga_cswin_')
            for size in ('tiny', 'small', 'base', 'base_384')
        }
    depths = {name: tuple(len(stage.blocks) for stage in net.stages) for name, net in nets.items()}
    assert depths['cswin_tiny'] == (1, 2, 21, 1) and depths['cswin_base_384'] == (2, 4, 32, 2)
    assert depths['flatten_cswin_tiny'] == depths['saga_cswin_tiny'] == (2, 4, 18, 1)
    assert depths['flatten_cswin_base_384'] == depths['saga_cswin_base'] == (3, 6, 29, 2)
    rates = [max(m.rate for m in net.modules() if isinstance(m, DropPath)) for net in nets.values()]
    assert rates == pytest.approx([0.2, 0.4, 0.5, 0.7] * 3)


def test_a_width_for_each_stage():
    with pytest.raises(ValueError, match='stripe_widths lists 3 widths for 4 stages'):
        CSwin(SMALL, stripe_widths=(1, 2, 7))
