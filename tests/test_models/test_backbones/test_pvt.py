"""PVT as a host: what a user may set. Parity with published models is in ``test_loading/test_convert.py``."""

import pytest
import torch

from saga_mm import create_backbone
from saga_mm.models.attention import SAGAAttention, SoftmaxAttention
from saga_mm.models.backbones import PVT
from saga_mm.models.backbones.blocks import DropPath
from saga_mm.models.backbones.pvt import PositionTable

SMALL = {
    'embed_dims': (8, 16, 24, 32),
    'depths': (1, 2, 1, 1),
    'num_heads': (1, 2, 3, 4),
    'mlp_ratios': (2, 2, 2, 2),
    'sr_ratios': (8, 4, 2, 1),
}


def test_one_mixer_for_each_stage():
    net = PVT(
        SMALL, attention=['saga', {'type': 'saga', 'gates': 'none'}, 'softmax', {'type': 'softmax', 'sr_ratio': 2}]
    )
    mixers = [stage.blocks[0].attn for stage in net.stages]
    assert [type(mixer) for mixer in mixers] == [SAGAAttention, SAGAAttention, SoftmaxAttention, SoftmaxAttention]
    assert [mixer.sr_ratio for mixer in mixers] == [1, 1, 2, 2]
    assert [len(m.gates.sides) for m in mixers[:2]] == [2, 0]


@pytest.mark.parametrize(
    ('name', 'millions'),
    [('saga_pvt_tiny', 12.92), ('saga_pvt_small', 23.19), ('saga_pvt_medium', 40.49), ('saga_pvt_large', 54.92)],
)
def test_parameter_counts_with_a_classifier(name, millions):
    with torch.device('meta'):
        net = create_backbone(name)
    norm_and_head = 2 * 512 + 513 * 1000
    assert round((sum(p.numel() for p in net.parameters()) + norm_and_head) / 1e6, 2) == millions


@pytest.mark.parametrize(
    ('name', 'published'),
    [
        ('pvt_tiny', 13_229_288),
        ('flatten_pvt_tiny', 12_150_504),
        ('flatten_pvt_small', 21_670_248),
        ('flatten_pvt_medium', 37_242_216),
        ('flatten_pvt_large', 50_649_192),
    ],
)
def test_parameter_counts_are_the_published_ones(name, published):
    with torch.device('meta'):
        net = create_backbone(name)
    classifier = 2 * 512 + 513 * 1000
    class_token = 2 * 512 if name == 'pvt_tiny' else 0
    assert sum(p.numel() for p in net.parameters()) == published - classifier - class_token


def test_out_indices_and_stages_that_nobody_reads_are_not_run():
    net = PVT(SMALL, out_indices=(0, 2)).eval()
    net.stages[3].forward = None
    assert [out.shape[1] for out in net(torch.randn(1, 3, 64, 64))] == [8, 24]


def test_drop_path_rates_grow_over_the_blocks():
    net = PVT(SMALL, drop_path_rate=0.4)
    rates = [m.rate for m in net.modules() if isinstance(m, DropPath)]
    assert rates == pytest.approx([0, 0.1, 0.2, 0.3, 0.4])


def test_drop_path_keeps_the_mean_and_drops_whole_samples():
    torch.manual_seed(0)
    out = DropPath(0.25).train()(torch.ones(4000, 2, 3)).flatten(1)
    assert ((out == 0).all(1) | (out == 4 / 3).all(1)).all()
    assert out.mean().item() == pytest.approx(1, abs=0.05)
    assert torch.equal(DropPath(0.25).eval()(out), out)


def test_init_cfg_loads_a_checkpoint(tmp_path):
    source = PVT(SMALL)
    torch.save({'state_dict': source.state_dict()}, tmp_path / 'pvt.pth')
    net = PVT(SMALL, init_cfg={'type': 'Pretrained', 'checkpoint': str(tmp_path / 'pvt.pth')})
    net.init_weights()
    assert all(torch.equal(a, b) for a, b in zip(net.parameters(), source.parameters(), strict=True))


def test_init_weights_without_a_checkpoint_leaves_the_gates_open():
    net = PVT(SMALL)
    net.init_weights()
    assert net.stages[0].blocks[0].attn.gates.proj[0].bias.eq(2).all()


@pytest.mark.parametrize(
    ('options', 'message'),
    [
        ({'arch': 'huge'}, "unknown arch 'huge'; choose one of tiny, small"),
        ({'arch': {'embed_dims': (8,)}}, 'arch lacks depths, mlp_ratios, num_heads, sr_ratios'),
        ({'arch': {**SMALL, 'depths': (1,)}}, 'one number a stage in every list'),
        ({'attention': 'sagaa'}, r"unknown attention 'sagaa'; did you mean saga\? choose one of .*saga"),
        ({'attention': ['saga', 'softmax']}, 'lists 2 entries for 4 stages'),
        ({'out_indices': (0, 4)}, 'must name some of the stages 0 to 3'),
        ({'out_indices': ()}, 'must name some of the stages 0 to 3'),
        ({'frozen_stages': 5}, 'frozen_stages=5 must be between -1 and 4'),
    ],
)
def test_bad_arguments_are_named(options, message):
    with pytest.raises(ValueError, match=message):
        PVT(**{'arch': SMALL, **options})


@pytest.mark.parametrize('change', ['nothing', 'forward', 'hook', 'float32', 'batch'])
def test_positions_are_those_that_the_module_gives(change: str):
    torch.manual_seed(0)
    net = PVT(SMALL, pretrain_img_size=64).double().eval()
    stage, seen = net.stages[0], []
    if change == 'forward':

        class Twice(PositionTable):
            def forward(self, grid):
                return 2 * super().forward(grid)

        stage.position = Twice(8, (16, 16)).double()
    elif change == 'hook':
        stage.position.register_forward_hook(lambda module, args, out: seen.append(out.shape))
    elif change == 'float32':
        stage.position.float()
    x = torch.randn(2 if change == 'batch' else 1, 3, 40, 28, dtype=torch.float64)
    wanted = net(x)
    with torch.no_grad():
        found = net(x)
    torch.testing.assert_close(found, wanted)
    assert seen == ([(1, 70, 8)] * 2 if change == 'hook' else [])
