import pytest
import torch
from mmengine.optim import build_optim_wrapper
from torch import nn

from saga_mm.models.backbones import PVT, RAVLT

HOSTS = {
    PVT: {'mlp_ratios': (2,) * 4, 'sr_ratios': (8, 4, 2, 1)},
    RAVLT: {'mlp_ratios': (2,) * 4, 'layer_scales': (1.0,) * 4},
}
DEPTHS = (1, 2, 1, 1)


def build(host=RAVLT, **options):
    arch = {'embed_dims': (8, 16, 24, 32), 'depths': DEPTHS, 'num_heads': (1, 2, 3, 4), **HOSTS[host]}
    model = nn.Module()
    model.backbone = host(arch, **options)
    model.neck = nn.Conv2d(32, 8, 1)
    return model


def groups_by_name(model, **paramwise):
    wrapper = build_optim_wrapper(
        model,
        {
            'type': 'OptimWrapper',
            'optimizer': {'type': 'AdamW', 'lr': 0.1, 'weight_decay': 0.05},
            'constructor': 'saga_mm.LayerDecayOptimWrapperConstructor',
            'paramwise_cfg': paramwise,
        },
    )
    by_id = {id(p): group for group in wrapper.optimizer.param_groups for p in group['params']}
    named = {name: by_id[id(p)] for name, p in model.named_parameters() if id(p) in by_id}
    return named, wrapper.optimizer.param_groups


@pytest.mark.parametrize('host', HOSTS)
def test_rates_shrink_block_by_block_towards_the_image(host):
    model = build(host)
    named, _ = groups_by_name(model, layer_decay_rate=0.5)
    assert set(named) == {name for name, _ in model.named_parameters()}
    expected = {
        'neck.weight': 0,
        'backbone.stages.3.blocks.0.attn.q.weight': 1,
        'backbone.stages.3.embed.proj': 1,
        'backbone.stages.2.blocks.0.norm1.bias': 2,
        'backbone.stages.1.blocks.1.attn.proj.weight': 3,
        'backbone.stages.1.blocks.0.attn.proj.weight': 4,
        'backbone.stages.1.embed.proj': 4,
        'backbone.stages.0.blocks.0.attn.kv.bias': 5,
        'backbone.stages.0.embed.proj': 6,
    }
    for prefix, above in expected.items():
        groups = [group for name, group in named.items() if name.startswith(prefix)]
        assert groups and all(group['lr'] == pytest.approx(0.1 * 0.5**above) for group in groups), prefix


def test_norms_of_outputs_learn_like_a_head_and_equal_settings_share_a_group():
    model = build()
    named, groups = groups_by_name(model, layer_decay_rate=0.5)
    assert named['backbone.out_norms.0.weight'] is named['neck.weight']
    assert len(groups) == sum(DEPTHS) + 2


def test_options_of_mmengine_still_hold():
    named, _ = groups_by_name(
        build(), layer_decay_rate=0.5, norm_decay_mult=0, bias_decay_mult=0, custom_keys={'neck': {'lr_mult': 3.0}}
    )
    block = 'backbone.stages.3.blocks.0.'
    assert named[block + 'norm1.weight']['weight_decay'] == 0
    assert named[block + 'attn.q.bias']['weight_decay'] == 0
    assert named[block + 'attn.q.weight']['weight_decay'] == 0.05
    assert named[block + 'norm1.weight']['lr'] == named[block + 'attn.q.weight']['lr']
    assert named['neck.weight']['lr'] == pytest.approx(0.3)


def test_frozen_parameters_are_left_out_and_a_step_moves_the_rest():
    model = build(PVT, frozen_stages=1)
    named, groups = groups_by_name(model, layer_decay_rate=0.5)
    assert not any(name.startswith('backbone.stages.0.') for name in named)
    before = model.neck.weight.detach().clone()
    model.neck(model.backbone(torch.randn(1, 3, 32, 32))[-1]).sum().backward()
    torch.optim.SGD(groups).step()
    assert not torch.equal(model.neck.weight, before)


@pytest.mark.parametrize('rate', [None, 0, 1.5, 'a lot'])
def test_a_rate_out_of_range_is_an_error(rate):
    with pytest.raises(ValueError, match=r'layer_decay_rate must be in \(0, 1\]'):
        groups_by_name(build(), layer_decay_rate=rate)


def test_a_model_without_a_backbone_of_ours_is_an_error():
    with pytest.raises(ValueError, match='no backbone of saga_mm'):
        groups_by_name(nn.Conv2d(3, 8, 1), layer_decay_rate=0.5)
