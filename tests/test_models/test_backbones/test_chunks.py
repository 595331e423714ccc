"""Models that users changed: the same maps whole, in chunks and in strips, and nothing of the user's is passed by."""

from collections.abc import Callable

import pytest
import torch
from torch import nn

from saga_mm.models.attention import LinearAttention, RankAugmentedLinearAttention, SAGAAttention, SoftmaxAttention
from saga_mm.models.backbones import PVT
from saga_mm.models.backbones.blocks import Block
from saga_mm.models.backbones.chunks import overrides_forward, whole_reason
from saga_mm.models.backbones.stage import Stage
from saga_mm.models.enhancement import SAGAUNet
from saga_mm.models.enhancement.carry import CarryingRunner
from saga_mm.ops import Grid
from saga_mm.rows import MemoryRows, RowRunner, limit_chunks

ARCH = {'embed_dims': (8, 16), 'depths': (2, 1), 'num_heads': (1, 2), 'mlp_ratios': (4, 2), 'sr_ratios': (4, 2)}
SMALL_CHUNK = 20000


class Negated(SAGAAttention):
    """Writes other keys."""

    def write_heads(self, source, keys, values):
        return super().write_heads(source, -keys, values)


class Squared(SAGAAttention):
    """Has another feature map."""

    def phi(self, x):
        return x.square()


class Adapter(nn.Module):
    """A linear layer and a product of low rank beside it, as LoRA; it has no attributes of a linear layer."""

    def __init__(self, base: nn.Linear) -> None:
        super().__init__()
        self.base = base
        self.down = nn.Linear(base.in_features, 2, bias=False, dtype=torch.float64)
        self.up = nn.Linear(2, base.out_features, bias=False, dtype=torch.float64)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.base(x) + self.up(self.down(x))


class MyBlock(Block):
    """A block with a forward of its own, which looks at the whole map."""

    def forward(self, x: torch.Tensor, grid: Grid) -> torch.Tensor:
        return super().forward(x, grid) + x.mean(1, keepdim=True)


class MyMixer(SAGAAttention):
    """A mixer with a forward of its own."""

    def forward(self, x: torch.Tensor, grid: Grid) -> torch.Tensor:
        return 2 * super().forward(x, grid)


class MyStage(Stage):
    """A stage with a forward of its own."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return 2 * super().forward(x)


@pytest.fixture
def build(note_sizes) -> Callable[..., nn.Module]:
    """Build a network and change it; its list ``sizes`` gets a number whenever a feed-forward runs."""

    def build(attention: str | dict = 'saga', change: Callable[[nn.Module], None] | None = None) -> nn.Module:
        torch.manual_seed(0)
        net = PVT(ARCH, attention, pretrain_img_size=64, out_indices=(0, 1)).double()
        net.sizes = note_sizes(net)
        if change is not None:
            change(net)
        for name, parameter in net.named_parameters():
            nn.init.normal_(parameter, mean=float('norm' in name and name.endswith('weight')), std=0.2)
        return net.eval()

    return build


def image() -> torch.Tensor:
    return torch.randn(1, 3, 75, 41, dtype=torch.float64, generator=torch.Generator().manual_seed(1))


def whole(net: nn.Module) -> list[torch.Tensor]:
    """As training sees it."""
    return [out.detach() for out in net(image())]


def chunked(net: nn.Module) -> list[torch.Tensor]:
    """In ordinary inference, where at least one stage runs in pieces."""
    net.sizes.clear()
    with torch.no_grad(), limit_chunks(SMALL_CHUNK):
        outs = net(image())
    assert len(net.sizes) > sum(ARCH['depths'])
    return list(outs)


def strips(net: nn.Module, runner: RowRunner | None = None) -> list[torch.Tensor]:
    runner = runner or RowRunner(rows=2)
    maps = net.forward_rows(MemoryRows(image().permute(0, 2, 3, 1)), runner)
    return [runner.gather(rows) for rows in maps]


def equal(ones, others) -> bool:
    return all(torch.allclose(one, other, rtol=1e-9, atol=1e-9) for one, other in zip(ones, others, strict=True))


@pytest.mark.parametrize('mixer', [Negated, Squared])
def test_mixers_that_change_a_part(mixer, build):
    net = build({'type': mixer})
    expected = whole(net)
    assert not equal(expected, whole(build('saga')))
    assert equal(chunked(net), expected)
    assert equal(strips(net), expected)


@pytest.mark.parametrize('layer', ['attn.q', 'attn.kv', 'attn.proj', 'mlp.fc1'])
@pytest.mark.parametrize('attention', ['saga', 'focused', 'rala', 'softmax'])
def test_adapters_in_place_of_linear_layers(layer, attention, build):
    def adapt(net):
        for stage in net.stages:
            for block in stage.blocks:
                block.set_submodule(layer, Adapter(block.get_submodule(layer)))

    net = build(attention, adapt)
    expected = whole(net)
    assert equal(chunked(net), expected)
    assert equal(strips(net), expected)
    for stage in net.stages:
        for block in stage.blocks:
            nn.init.zeros_(block.get_submodule(layer).up.weight)
    assert not equal(whole(net), expected)


LAYERS = ['embed', 'embed.proj', 'position', 'blocks.0', 'blocks.1.norm1', 'blocks.0.attn', 'blocks.0.attn.q']
LAYERS += ['blocks.1.attn.kv', 'blocks.0.attn.gates.proj.0', 'blocks.1.attn.local', 'blocks.0.mlp', 'blocks.1.mlp.act']


@pytest.mark.parametrize('name', LAYERS)
def test_a_hook_on_an_inner_layer_sees_the_whole_map(name, build):
    net, seen = build(), []
    expected, without = whole(net), chunked(net)
    layer = net.stages[0].get_submodule(name)

    def look(module, args, out):
        out = out[0] if isinstance(out, tuple) else out
        seen.append(out.shape[1] if out.ndim == 3 else out.shape[2] * out.shape[3])

    handle = layer.register_forward_hook(look)
    assert whole_reason(net.eval().stages[0]) == 'gradients are enabled'
    with torch.no_grad():
        assert whole_reason(net.stages[0]) == f'the submodule {name} has a hook'
    # stage 1 has no hook
    outs = chunked(net)
    assert seen == [19 * 11]
    assert equal(outs, expected) and equal(without, expected)
    # in strips a hook sees strips, and changes nothing
    assert equal(strips(net), expected)
    handle.remove()
    assert equal(chunked(net), expected) and len(seen) >= 1


def test_backward_hooks_are_hooks(build):
    net = build()
    net.stages[0].blocks[1].mlp.register_full_backward_hook(lambda *_: None)
    with torch.no_grad():
        assert whole_reason(net.stages[0]) == 'the submodule blocks.1.mlp has a hook'
        assert whole_reason(net.stages[1]) is None


def test_a_hook_on_the_norm_of_an_output_sees_the_whole_map(small_backbone):
    net, seen = small_backbone('Swin', ['saga']), []
    x = torch.randn(1, 3, 96, 64)
    with torch.no_grad(), limit_chunks(1000):
        expected = net(x)[0]
        net.out_norms['0'].register_forward_hook(lambda module, args, out: seen.append(tuple(out.shape)))
        torch.testing.assert_close(net(x)[0], expected)
    assert seen == [(1, 24, 16, 8)]


def own_block(net: nn.Module) -> None:
    net.stages[0].blocks[1].__class__ = MyBlock


def own_mixer(net: nn.Module) -> None:
    net.stages[0].blocks[1].attn.__class__ = MyMixer


def own_stage(net: nn.Module) -> None:
    net.stages[0].__class__ = MyStage


def block_instance(net: nn.Module) -> None:
    block = net.stages[0].blocks[1]
    before = block.forward
    block.forward = lambda x, grid: 2 * before(x, grid)


@pytest.mark.parametrize(
    ('change', 'name'),
    [(own_block, 'MyBlock'), (own_mixer, 'MyMixer'), (own_stage, 'MyStage'), (block_instance, 'Block')],
)
def test_a_forward_of_its_own_is_called_or_refused(change, name, build):
    net = build(change=change)
    expected = whole(net)
    assert not equal(expected, whole(build()))
    inside = 'blocks.1.attn' if change is own_mixer else 'blocks.1'
    with torch.no_grad():
        reason = None if change is own_stage else f'the submodule {inside} has a forward of its own'
        assert whole_reason(net.stages[0]) == reason
    assert equal(chunked(net), expected)
    with pytest.raises(ValueError, match=rf'^{name} does not run in strips: it has a forward of its own'):
        strips(net)
    with pytest.raises(ValueError, match=rf'^{name} does not run in strips'):
        net.parts(75, 41)


def test_only_the_whole_stage_runs_whole(build):
    """A stage that holds the block, by itself: nothing runs in pieces."""
    net = build(change=own_block)
    with torch.no_grad(), limit_chunks(1000):
        net.stages[0](image())
    assert len(net.sizes) == ARCH['depths'][0]


def test_which_classes_have_a_forward_of_their_own(build):
    class Both(SAGAAttention):
        def forward(self, x, grid):
            return x

        def read(self, x, grid, state):
            return x

    class Later(MyMixer):
        def read(self, x, grid, state):
            return x

    class Joined(Block):
        def join(self, x, mixed):
            return x - mixed

    own = [SAGAAttention, LinearAttention, RankAugmentedLinearAttention, SoftmaxAttention, Negated, Both, Later]
    assert not any(overrides_forward(mixer(8, 2)) for mixer in own)
    assert overrides_forward(MyMixer(8, 2))
    assert not overrides_forward(nn.Linear(8, 8))
    block = build().stages[0].blocks[0]
    assert not overrides_forward(block)
    block.__class__ = Joined
    assert not overrides_forward(block)
    net = SAGAUNet('tiny')
    assert not any(overrides_forward(part) for part in net.modules())


def test_reasons_to_run_whole(build):
    stage = build().stages[0]
    with torch.no_grad():
        assert whole_reason(stage) is None
        stage.blocks[0].drop_path.train()
        assert whole_reason(stage) == 'the submodule blocks.0.drop_path is in training mode'
        assert whole_reason(stage.train()) == 'it is in training mode'
        stage.eval()
        stage.blocks[0].mlp.fc1.forward = stage.blocks[0].mlp.fc1.forward
        assert whole_reason(stage) == 'the submodule blocks.0.mlp.fc1 has a forward of its own'
        reasons = []
        stage = build().stages[0]

        def capture(x):
            reasons.append(whole_reason(stage))
            return x + 1

        torch.fx.experimental.proxy_tensor.make_fx(capture)(torch.zeros(1))
    assert 'a graph is being captured' in reasons[0]
    assert whole_reason(stage) == 'gradients are enabled'


def test_every_route_runs_the_same_mixer(build):
    """What breaks inside a mixer breaks whole maps, chunks, strips, video and exported graphs alike."""
    torn = 'torn on purpose'

    class Torn(SAGAAttention):
        def write_heads(self, source, keys, values):
            raise RuntimeError(torn)

    net = build({'type': Torn})
    routes = [
        lambda: whole(net),
        lambda: chunked(net),
        lambda: strips(net),
        lambda: strips(net, CarryingRunner(RowRunner(rows=2))),
        lambda: torch.export.export(net, (image(),), strict=False),
    ]
    for route in routes:
        with pytest.raises(RuntimeError, match=torn):
            route()
