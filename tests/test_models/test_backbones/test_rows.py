"""Hosts in strips of rows and in chunks: the same maps as in one piece, in less memory."""

import functools
import math

import pytest
import torch
from torch import nn

from saga_mm.analysis import measure_cost
from saga_mm.models.backbones import PVT, RAVLT, CSwin, PVTv2, Swin
from saga_mm.models.backbones.blocks import Block, FeedForward
from saga_mm.ops import Grid, number_bytes
from saga_mm.rows import (
    ImageRows,
    MemoryBudget,
    MemoryTooSmallError,
    RowRunner,
    Storage,
    limit_chunks,
    plan_runner,
)

WIDTHS = {'embed_dims': (8, 16), 'depths': (2, 1), 'num_heads': (1, 2)}
PVT_ARCH = {**WIDTHS, 'mlp_ratios': (4, 2), 'sr_ratios': (4, 2)}
RAVLT_ARCH = {**WIDTHS, 'mlp_ratios': (2, 2), 'layer_scales': (1.0, 0.5)}
HOSTS = {
    'PVT': functools.partial(PVT, PVT_ARCH, pretrain_img_size=64),
    'PVTv2': functools.partial(PVTv2, PVT_ARCH),
    'RAVLT': functools.partial(RAVLT, RAVLT_ARCH),
    'Swin': functools.partial(Swin, WIDTHS, window_size=3),
    'CSwin': functools.partial(CSwin, WIDTHS, stripe_widths=(2, 0)),
}
BLOCKS = sum(WIDTHS['depths'])
MIXERS = ['linear', 'saga', 'focused', 'rala', 'mala', 'softmax']
# batch, size, rows of a strip, bytes of maps in memory: sides that no stride divides, a single column of tokens, a map
# lower than a strip, all maps in scratch files or some of them
RUNS = [(2, (75, 41), 3, 0), (1, (50, 3), 1, math.inf), (1, (9, 70), 5, 2000), (1, (75, 41), 8, 20000)]


def build(host: str, attention='saga', **options) -> nn.Module:
    torch.manual_seed(0)
    net = HOSTS[host](attention=attention, out_indices=(0, 1), **options).double().eval()
    for name, parameter in net.named_parameters():
        # every branch counts, those that start at zero too
        mean = 1.0 if 'norm' in name and name.endswith('weight') else 0.0
        nn.init.normal_(parameter, mean=mean, std=0.2)
    return net


def image_rows(x: torch.Tensor) -> ImageRows:
    return ImageRows(lambda start, stop: x[:, :, start:stop], *x.shape[2:], batch=len(x))


@torch.no_grad()
def check_rows(net: nn.Module, x: torch.Tensor, runner: RowRunner) -> None:
    whole = net(x)
    maps = net.forward_rows(image_rows(x), runner)
    assert len(maps) == len(whole)
    for rows, expected in zip(maps, whole, strict=True):
        out = runner.gather(rows)
        assert out.shape == expected.shape and out.is_contiguous()
        assert (out - expected).abs().max() <= 1e-9 * expected.abs().max()


@pytest.mark.parametrize('attention', MIXERS)
@pytest.mark.parametrize('host', HOSTS)
def test_strips_equal_the_whole(host, attention, tmp_path):
    net = build(host, attention)
    for batch, size, rows, memory in RUNS:
        x = torch.randn(batch, 3, *size, dtype=torch.float64)
        check_rows(net, x, RowRunner(Storage(memory, tmp_path), rows=rows))
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    'attention',
    [
        {'type': 'saga', 'gates': 'none'},
        {'type': 'saga', 'gate_source': 'low_rank'},
        {'type': 'saga', 'gate_source': 'kv', 'gate_rank': 2, 'gate_shared': True},
        {'type': 'saga', 'feature_map': 'focused', 'normalizer': 'gated', 'local_kernel': 7},
        {'type': 'saga', 'normalizer': 'none', 'local_kernel': 0},
        {'type': 'saga', 'local_shared': True, 'key_table': (3, 4)},
        {'type': 'saga', 'sr_ratio': 2, 'key_table': (3, 4)},
        {'type': 'saga', 'sr_ratio': 3, 'local_kernel': 5},
        {'type': 'saga', 'sr_ratio': 4, 'local_kernel': 0},
        {'type': 'focused', 'lepe_kernel': 3, 'sr_ratio': 2},
        {'type': 'rala', 'local_kernel': 1, 'qkv_bias': False},
        {'type': 'softmax', 'sr_ratio': 3},
        {'type': 'window', 'window_size': 4, 'shift': 2, 'borders': 'mmdet'},
        {'type': 'cross_window', 'stripe_width': 3},
        ['saga', 'rope_softmax'],
    ],
    ids=str,
)
@pytest.mark.parametrize('rows', [1, 4])
def test_strips_equal_the_whole_whatever_the_options(attention, rows):
    check_rows(build('PVTv2', attention), torch.randn(1, 3, 75, 41, dtype=torch.float64), RowRunner(rows=rows))


@pytest.mark.parametrize('options', [{'out_indices': (1,)}, {'out_indices': (0,)}], ids=str)
def test_only_the_maps_that_are_asked_for(options):
    net = HOSTS['RAVLT'](attention='rala', **options).double().eval()
    check_rows(net, torch.randn(1, 3, 40, 24, dtype=torch.float64), RowRunner(rows=3))


def test_the_image_is_never_asked_for_whole():
    net, asked = build('PVT'), []
    x = torch.randn(1, 3, 200, 24, dtype=torch.float64)

    def read(start: int, stop: int) -> torch.Tensor:
        asked.append(stop - start)
        return x[:, :, start:stop]

    net.forward_rows(ImageRows(read, 200, 24), RowRunner(rows=5))
    assert max(asked) == 20 and sum(asked) == 200


def test_a_plan_within_a_memory(tmp_path):
    net = build('PVT', 'softmax')
    x = torch.randn(1, 3, 300, 60, dtype=torch.float64)
    with pytest.raises(MemoryTooSmallError) as error:
        plan_runner(net.parts(300, 60), 1, 1000)
    for memory in (error.value.smallest, 3 * error.value.smallest, math.inf):
        check_rows(net, x, plan_runner(net.parts(300, 60), 1, memory, tmp_path))
    with pytest.raises(MemoryTooSmallError, match='MiB at least'):
        plan_runner(net.parts(300, 60), 1, error.value.smallest - 1)
    # pieces of softmax's keys and values, and the two together, take more the larger the image
    with pytest.raises(MemoryTooSmallError) as larger:
        plan_runner(net.parts(3000, 60), 1, 1000)
    assert larger.value.smallest > error.value.smallest


def test_training_mode_is_refused():
    with pytest.raises(ValueError, match=r'evaluation mode alone; call eval\(\)'):
        build('RAVLT').train().forward_rows(image_rows(torch.randn(1, 3, 40, 24)), RowRunner())


class Foreign(nn.Module):
    """A block as somebody may write it who has not read about rows."""

    def forward(self, x: torch.Tensor, grid: Grid) -> torch.Tensor:
        return x + x.mean(dim=1, keepdim=True)


def test_blocks_that_know_of_no_rows_run_whole():
    net = build('PVT')
    net.stages[1].blocks.append(Foreign())
    x = torch.randn(1, 3, 40, 24, dtype=torch.float64)
    with torch.no_grad():
        whole = net(x)
        with limit_chunks(1000):
            assert all(torch.allclose(a, b, rtol=1e-9) for a, b in zip(net(x), whole, strict=True))
    with pytest.raises(ValueError, match='Foreign does not run in strips'):
        net.forward_rows(image_rows(x), RowRunner())


@pytest.mark.parametrize('attention', MIXERS)
@pytest.mark.parametrize('host', HOSTS)
def test_chunks_equal_the_whole(host, attention, note_sizes):
    net = build(host, attention).float()
    layers = sum(isinstance(module, nn.GELU) for module in net.modules())
    sizes = note_sizes(net)
    for batch, size in ((1, (90, 41)), (3, (64, 64))):
        x = torch.randn(batch, 3, *size)
        with torch.no_grad():
            sizes.clear()
            whole = net(x)
            assert len(sizes) == layers
            for chunk in (2500, 300000):
                sizes.clear()
                with limit_chunks(chunk):
                    outs = net(x)
                # a wide halo may ask for all rows of an image, but not of all images
                assert chunk > 2500 or batch == 1 or len(sizes) > layers
                for out, expected in zip(outs, whole, strict=True):
                    assert out.is_contiguous()
                    assert (out - expected).norm() <= 1e-6 * expected.norm()


def test_images_of_a_batch_before_rows(note_sizes):
    net = build('PVT')
    stage, x = net.stages[0], torch.randn(5, 3, 32, 32, dtype=torch.float64)
    whole, sizes = stage(x), note_sizes(stage)
    with torch.no_grad(), limit_chunks(2.5 * net.parts(32, 32)[0].whole_bytes(1, 8)):
        assert torch.allclose(stage(x), whole, rtol=1e-9)
    # 64 tokens of an image, 32 hidden channels; two blocks
    assert [size // (64 * 32) for size in sizes] == [2, 2, 2, 2, 1, 1]


@pytest.mark.parametrize('dtype', [torch.float16, torch.bfloat16], ids=str)
@pytest.mark.parametrize('host', ['PVT', 'RAVLT'])
def test_chunks_under_autocast(host, dtype):
    net = HOSTS[host](attention='rala', out_indices=(0, 1)).eval()
    x = torch.randn(1, 3, 96, 64)
    with torch.no_grad():
        exact = net(x)
        with limit_chunks(30000), torch.autocast('cpu', dtype=dtype):
            outs = net(x)
    for out, expected in zip(outs, exact, strict=True):
        assert (out.float() - expected).norm() < 0.03 * expected.norm()


@pytest.mark.parametrize('where', [lambda net: net.stages[0].blocks[0].attn, lambda net: net.stages[0].blocks[1].mlp])
def test_hooks_see_whole_maps(where):
    net, seen = build('PVT'), []
    x = torch.randn(1, 3, 40, 24, dtype=torch.float64)
    with torch.no_grad(), limit_chunks(1000):
        chunked = net(x)
        handle = where(net).register_forward_hook(lambda module, args, out: seen.append(out.shape[1]))
        outs = net(x)
        handle.remove()
        net(x)
    assert seen == [60]
    assert all(torch.allclose(a, b, rtol=1e-9) for a, b in zip(outs, chunked, strict=True))


def test_gradients_come_from_whole_maps(note_sizes):
    net = build('PVT')
    sizes = note_sizes(net)
    with limit_chunks(1000):
        sum(out.sum() for out in net(torch.randn(1, 3, 40, 24, dtype=torch.float64))).backward()
    assert len(sizes) == BLOCKS
    assert all(parameter.grad is not None for parameter in net.parameters())


@pytest.mark.filterwarnings('ignore::torch.jit.TracerWarning')
def test_captured_graphs_hold_no_loop(note_sizes):
    x = torch.randn(1, 3, 256, 40)
    captures = [
        lambda net: torch.jit.trace(net, x, check_trace=False),
        lambda net: torch.export.export(net, (x,), strict=False),
        lambda net: torch.compile(net, backend='eager', fullgraph=True)(x),
    ]

    def layers_run(run, limit: float) -> int:
        net = HOSTS['PVTv2'](attention='rala', out_indices=(0,)).eval()
        sizes = note_sizes(net)
        torch._dynamo.reset()
        with torch.no_grad(), limit_chunks(limit):
            run(net)
        return len(sizes)

    # a loop over pieces runs the layers more often, as it does where no graph is captured
    assert layers_run(lambda net: net(x), 1000) > layers_run(lambda net: net(x), 2**30) == WIDTHS['depths'][0]
    for capture in captures:
        assert layers_run(capture, 1000) == layers_run(capture, 2**30)


MORE_MIXERS = [
    {'type': 'saga', 'gate_rank': 4},
    {'type': 'saga', 'feature_map': 'focused', 'normalizer': 'none', 'local_kernel': 5},
    {'type': 'focused', 'lepe_kernel': 3},
    {'type': 'window', 'shift': 3},
    'cross_window',
    'rope_softmax',
]


@pytest.mark.parametrize(
    ('host', 'attention', 'dtype'),
    [
        ('PVT', 'saga', torch.float32),
        ('RAVLT', 'rala', torch.bfloat16),
        *(('PVTv2', mixer, torch.float32) for mixer in (*MIXERS, *MORE_MIXERS)),
        *(('PVTv2', mixer, torch.bfloat16) for mixer in ('saga', 'mala', 'softmax', 'cross_window')),
    ],
    ids=str,
)
def test_pieces_take_no_more_than_steps_say(host, attention, dtype):
    net = build(host, attention).to(dtype)
    # what of the first stage depends on its attention is in the second as well
    first = int(host == 'PVTv2' and attention != 'saga')
    for i, part in enumerate(net.parts(128, 256)[first:], first):
        size = part.height, part.width
        x = torch.zeros(1, size[0] * size[1], (3, 8)[i], dtype=dtype)
        for step in part.steps:
            grid = Grid.whole(*size)
            size = tuple(-(-side // step.stride) for side in size)
            own = x.nbytes
            allowed = number_bytes(dtype) * x.shape[1] * step.peak_floats_per_token
            state = None
            for _ in range(step.sweeps):
                assert own + measure_cost(step.write, x, grid, state).peak_bytes <= allowed
                state = step.merge([step.write(x, grid, state)])
            assert own + measure_cost(step.read, x, grid, state, Grid.whole(*size)).peak_bytes <= allowed
            x = step.read(x, grid, state, Grid.whole(*size)).detach()


def test_a_wide_feed_forward_is_what_a_block_says():
    block = Block(64, nn.Identity(), FeedForward(64, 512), 0.0)
    block.attn.halo, block.attn.peak_floats_per_channel, block.attn.row_multiple = 0, 12.0, 1
    assert block.peak_floats_per_token == 2 * 512 + 4 * 64


class Doubled(nn.Linear):
    """Stands for layers that adapt or quantise a linear one."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return 2 * super().forward(x)


@pytest.mark.parametrize('name', ['mlp.fc1', 'mlp.fc2', 'mlp.act', 'attn.kv', 'attn.q'])
def test_replaced_layers_count_in_pieces_too(name):
    net, x = build('PVT'), torch.randn(1, 3, 64, 40, dtype=torch.float64)
    layer = net.stages[0].blocks[0].get_submodule(name)
    other = Doubled(layer.in_features, layer.out_features).double() if isinstance(layer, nn.Linear) else nn.ReLU()
    other.load_state_dict(layer.state_dict())
    net.stages[0].blocks[0].set_submodule(name, other)
    whole = net(x)
    with torch.no_grad(), limit_chunks(1000):
        torch.testing.assert_close(net(x), whole)
        if name == 'attn.kv':
            torch.testing.assert_close(torch.compile(net, backend='eager', fullgraph=True)(x), whole)


def test_another_forward_is_run():
    net, x = build('PVT'), torch.randn(1, 3, 64, 40, dtype=torch.float64)
    for part in (net.stages[0].blocks[0].attn, net.stages[0].blocks[1].mlp.fc1):
        before = part.forward
        part.forward = lambda *args, before=before: 2 * before(*args)
    whole = net(x)
    with torch.no_grad():
        torch.testing.assert_close(net(x), whole)


@pytest.mark.parametrize('host', ['PVT', 'PVTv2', 'RAVLT'])
def test_what_is_written_over_belongs_to_the_net(host: str):
    net, x, seen = build(host), torch.randn(2, 3, 64, 40, dtype=torch.float64), []
    before, state = x.clone(), {name: value.clone() for name, value in net.state_dict().items()}
    with torch.no_grad():
        first, again = net(x), net(x)
    assert torch.equal(x, before)
    assert all(torch.equal(value, state[name]) for name, value in net.state_dict().items())
    assert all(map(torch.equal, first, again))

    # whoever looks at an embedding or a block keeps what it saw
    def look(module, inputs, output):
        tokens = output[0] if isinstance(output, tuple) else output
        seen.extend((tokens, tokens.clone()))

    for module in (net.stages[0].embed, net.stages[0].blocks[0]):
        seen.clear()
        hook = module.register_forward_hook(look)
        with torch.no_grad():
            net(x)
        assert torch.equal(*seen)
        hook.remove()
    # and whoever calls a block, what was given
    tokens, grid = torch.randn(1, 30, 8, dtype=torch.float64), Grid.whole(5, 6)
    given = tokens.clone()
    with torch.no_grad():
        net.stages[0].blocks[0](tokens, grid)
    assert torch.equal(tokens, given)


def test_a_budget_trims_after_each_strip():
    class Counting(MemoryBudget):
        def trim(self):
            calls.append(1)

    net, calls = build('PVT'), []
    runner = RowRunner(rows=4, budget=Counting(torch.device('cpu')))
    steps = net.stages[0].steps
    runner.run(steps, image_rows(torch.randn(1, 3, 64, 40, dtype=torch.float64)))
    # four strips of four rows: the embedding and two blocks, each of which writes while the step before it reads
    assert len(calls) == 4 * 3
