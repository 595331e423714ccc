import sys

import pytest
import torch

from saga_mm import create_backbone, list_backbones
from saga_mm.models.backbones import PVT
from saga_mm.models.backbones.named import VARIANTS
from saga_mm.registry import MODELS


def test_names_are_listed_and_filtered():
    assert {'pvt_tiny', 'saga_pvt_large'} <= set(list_backbones())
    assert list_backbones('saga_pvt_v2') == [f'saga_pvt_v2_b{i}' for i in range(6)]
    assert len(list_backbones()) == len(set(list_backbones()))


def shallow(name):
    """The arch of a name with one block a stage: widths are what is named; depths are tested in the file of each."""
    variant = VARIANTS[name]
    arch = dict(sys.modules[MODELS.get(variant['type']).__module__].ARCHS[variant['arch']])
    return {**arch, 'depths': (1,) * len(arch['depths'])}


def smallest():
    """Of each backbone with each attention the one of least channels."""
    names = sorted(list_backbones(), key=lambda name: sum(shallow(name)['embed_dims']), reverse=True)
    return {(VARIANTS[name]['type'], str(VARIANTS[name].get('attention'))): name for name in names}.values()


def run_at_an_odd_size(name):
    """Check the sizes of all maps; give the backbone and the maps."""
    net = create_backbone(name, arch=shallow(name))
    outs = net(torch.randn(1, 3, 97, 161))
    sizes = [(25, 41), (13, 21), (7, 11), (4, 6)]
    # a plain ViT has one map, at a stride of 16
    plain = VARIANTS[name]['type'] == 'ViT'
    sizes, dims = (sizes[2:3], net.embed_dims[-1:]) if plain else (sizes, net.embed_dims)
    assert [tuple(out.shape[1:]) for out in outs] == [(c, *size) for c, size in zip(dims, sizes, strict=True)]
    return net, outs


@pytest.mark.parametrize('name', list_backbones())
def test_every_name_runs_at_an_odd_size(name):
    with torch.device('meta'), torch.no_grad():
        run_at_an_odd_size(name)


@pytest.mark.parametrize('name', smallest())
def test_every_parameter_has_a_finite_gradient(name):
    net, outs = run_at_an_odd_size(name)
    sum(out.square().mean() for out in outs).backward()
    assert all(p.grad is not None and p.grad.isfinite().all() for p in net.parameters())


def test_overrides_replace_the_variant():
    net = create_backbone('saga_pvt_tiny', out_indices=(1,), attention='softmax')
    assert isinstance(net, PVT) and net.out_indices == (1,)
    assert type(net.stages[0].blocks[0].attn).__name__ == 'SoftmaxAttention'


def test_an_unknown_name_is_answered_with_near_ones():
    with pytest.raises(ValueError, match="unknown backbone 'saga_pvt_tinny'; did you mean saga_pvt_tiny"):
        create_backbone('saga_pvt_tinny')
    with pytest.raises(ValueError, match=r"unknown backbone 'house'; saga_mm\.list_backbones\(\) names all$"):
        create_backbone('house')


def test_name_is_found_whatever_the_default_scope():
    pytest.importorskip('mmdet')
    from mmengine.registry import DefaultScope

    with DefaultScope.overwrite_default_scope('mmdet'):
        assert type(create_backbone('pvt_v2_b0')).__module__ == 'saga_mm.models.backbones.pvt_v2'
