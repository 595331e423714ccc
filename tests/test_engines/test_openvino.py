"""Row steps and whole models compiled by OpenVINO give what PyTorch gives."""

import copy

import pytest
import torch
from torch import nn

from saga_mm.engines import use_engine
from saga_mm.engines.openvino import COPIES, OpenVINOEngine
from saga_mm.engines.running_call import RunningCall
from saga_mm.models.attention import SAGAAttention
from saga_mm.models.backbones import PVT
from saga_mm.models.backbones.blocks import Block
from saga_mm.models.enhancement import LowLightEnhancer
from saga_mm.models.enhancement.carried_frames import CarriedFrames
from saga_mm.models.enhancement.carry import CarryingRunner
from saga_mm.models.enhancement.enhancer_rows import enhance_rows
from saga_mm.models.enhancement.unet_layers import LocalBlock
from saga_mm.models.necks import SAGAPyramid
from saga_mm.rows import MemoryRows, RowRunner, Storage

# of each a backbone, and its stages: one where the second would be compiled as another attention's is
MIXERS = [
    ('pvt', 'saga', 2),
    ('pvt', 'softmax', 2),
    ('pvt', 'linear', 1),
    ('pvt', {'type': 'saga', 'sr_ratio': 2}, 1),
    ('pvt_v2', 'focused', 2),
    ('ravlt', 'rala', 2),
    ('ravlt', 'mala', 1),
    ('ravlt', 'softmax', 1),
    ('swin', 'softmax', 2),
    ('swin', {'type': 'softmax', 'borders': 'mmdet'}, 2),
    ('cswin', 'softmax', 2),
]


def rows_of(image: torch.Tensor) -> MemoryRows:
    return MemoryRows(image.permute(0, 2, 3, 1))


def run_rows(net: nn.Module, image: torch.Tensor, engine: OpenVINOEngine, rows: int | None = None) -> list:
    runner = RowRunner(rows=rows, engine=engine)
    with torch.inference_mode():
        return [runner.gather(out) for out in net.forward_rows(rows_of(image), runner)]


def assert_equal(outs, wanted) -> None:
    for out, want in zip(outs, wanted, strict=True):
        assert (out - want).abs().max() <= 1e-5 * want.abs().max()


@pytest.mark.parametrize(('name', 'attention', 'stages'), MIXERS, ids=str)
def test_strips_equal_pytorch(host, warm_cache, name, attention, stages):
    net, engine = host(name, attention, stages), OpenVINOEngine(cache=warm_cache)
    # what is compiled for one size serves all others, odd ones too
    for size, rows in (((48, 40), 1), ((61, 35), 2), ((61, 35), None)):
        image = torch.rand(1, 3, *size)
        with torch.inference_mode():
            assert_equal(run_rows(net, image, engine, rows), net(image))
    assert engine.reasons == {}


# each host once: of what its mixers are compiled, the strips above are too
@pytest.mark.parametrize(
    ('name', 'attention'), list({name: (name, mixer) for name, mixer, _ in reversed(MIXERS)}.values()), ids=str
)
def test_whole_maps_equal_pytorch(host, warm_cache, name, attention):
    net = host(name, attention)
    images = [torch.rand(batch, 3, *size) for batch, size in ((1, (48, 40)), (2, (61, 35)), (1, (20, 77)))]
    with torch.inference_mode():
        wanted = [net(image) for image in images]
        engine = OpenVINOEngine(cache=warm_cache)
        use_engine(net, engine)
        for image, want in zip(images, wanted):
            assert_equal(net(image), want)
    assert engine.reasons == {}


def test_a_block_is_read_and_the_next_is_written_in_one_step(cache):
    arch = {'embed_dims': (16, 32), 'depths': (1, 2), 'num_heads': (1, 2), 'mlp_ratios': (2, 2), 'sr_ratios': (2, 1)}
    net, engine, image = PVT(arch, out_indices=(0, 1)).eval(), OpenVINOEngine(cache=cache), torch.rand(1, 3, 61, 48)
    with torch.inference_mode():
        assert_equal(run_rows(net, image, engine, 4), net(image))
    steps = [key for module in engine.compiled._parts.values() for key in module]
    # embedding and first block, of each stage; the two blocks of the second stage; the last block of each stage
    assert sorted('and' in key for key in steps) == [False] * 2 + [True] * 3


def test_what_compiled_steps_will_hold_is_estimated_from_weights_and_strips(host, warm_cache):
    net, engine = host('pvt', 'saga'), OpenVINOEngine(cache=warm_cache)
    parts = net.parts(64, 48)
    before, low = engine.holds(parts), engine.holds(parts, chunk=0)
    weights = sum(weight.nbytes for weight in net.parameters())
    assert low > COPIES * weights and before > low
    assert engine.holds(parts, batch=2) > before
    run_rows(net, torch.rand(1, 3, 64, 48), engine, 4)
    # weights are in use by now, and buffers may be given back
    assert before - engine.holds(parts) == pytest.approx(low - engine.holds(parts, chunk=0))
    assert before - engine.holds(parts) > COPIES * weights
    assert OpenVINOEngine(cache=warm_cache, patient=True).strip_engine.name == 'openvino'


@pytest.mark.parametrize('maps', [0, 1, 9])
def test_strips_equal_pytorch_whatever_memory_is_left_for_maps(host, warm_cache, maps):
    net, image, engine = host('pvt', 'saga'), torch.rand(1, 3, 61, 40), OpenVINOEngine(cache=warm_cache)
    engine.usual_strip = 0.0
    # the map of the first stage
    runner = RowRunner(Storage(maps * 16 * 10 * 16 * 4), chunk=3 * 10 * 192 * 4.0, engine=engine)
    with torch.inference_mode():
        for _ in range(2):
            outs = [runner.gather(out) for out in net.forward_rows(rows_of(image), runner)]
            assert_equal(outs, net(image))
    assert engine.reasons == {}


def test_shapes_that_are_usual_are_compiled_apart_and_equal(host, cache):
    net, image = host('pvt', 'saga', 1), torch.rand(1, 3, 61, 40)
    engine = OpenVINOEngine(cache=cache)
    engine.usual_strip = engine.usual_image = 0.0
    with torch.inference_mode():
        wanted = net(image)
    for _ in range(3):
        assert_equal(run_rows(net, image, engine, 4), wanted)
    # another program begins with them
    other = OpenVINOEngine(cache=cache)
    other.known_seconds = 0.0
    for _ in range(2):
        assert_equal(run_rows(net, image, other, 4), wanted)
    assert any(compiled(other))
    use_engine(net, engine)
    with torch.inference_mode():
        kept = [net(image) for _ in range(3)]
    for outs in kept:
        assert_equal(outs, wanted)


def test_pieces_may_run_ahead_on_threads_of_their_own(host, warm_cache):
    net, image = host('pvt', 'saga'), torch.rand(1, 3, 61, 40)
    engine = OpenVINOEngine(threads=2, cache=warm_cache)
    engine.ahead = engine.lanes = 2
    with torch.inference_mode():
        wanted = net(image)
    for rows in (1, 4, None):
        assert_equal(run_rows(net, image, engine, rows), wanted)
    assert engine.reasons == {}


def compiled(engine: OpenVINOEngine) -> list[bool]:
    """For each set of sizes that ran, whether it was compiled for itself."""
    programs = engine.compiled.programs()
    return [not isinstance(use, float) for program in programs for use in program._uses.values()]


def test_precision_of_16_bits_stays_near(host, warm_cache):
    net, image = host('pvt', 'saga'), torch.rand(1, 3, 64, 64)
    outs = run_rows(net, image, OpenVINOEngine('bf16', cache=warm_cache))
    with torch.inference_mode():
        for out, want in zip(outs, net(image)):
            assert out.dtype == torch.float32
            assert (out - want).abs().mean() < 0.02 * want.abs().mean()


def test_weights_that_change_are_compiled_anew(host, warm_cache):
    net, image, engine = host('pvt', 'saga'), torch.rand(1, 3, 32, 32), OpenVINOEngine(cache=warm_cache)
    run_rows(net, image, engine)
    with torch.no_grad():
        net.stages[0].blocks[0].attn.proj.weight.mul_(2)
    net.stages[1].blocks[0].mlp.fc1 = nn.Sequential(nn.Linear(32, 8), nn.Linear(8, 64))
    with torch.inference_mode():
        assert_equal(run_rows(net, image, engine), net(image))


class Louder(SAGAAttention):
    """A user's mixer, which changes what is written."""

    def write_heads(self, source, keys, values):
        return super().write_heads(source, keys, 3 * values)


class Adapter(nn.Module):
    """A user's layer of low rank beside a linear one."""

    def __init__(self, layer: nn.Linear) -> None:
        super().__init__()
        self.layer = layer
        self.down, self.up = nn.Linear(layer.in_features, 2), nn.Linear(2, layer.out_features)

    def forward(self, x):
        return self.layer(x) + self.up(self.down(x))


def test_what_users_change_is_compiled_as_it_is(host, warm_cache):
    net, image = host('pvt', 'saga'), torch.rand(1, 3, 48, 32)
    for stage in net.stages:
        for block in stage.blocks:
            block.attn.__class__ = Louder
            block.attn.kv, block.mlp.fc1 = Adapter(block.attn.kv), Adapter(block.mlp.fc1)
    engine = OpenVINOEngine(cache=warm_cache)
    with torch.inference_mode():
        assert_equal(run_rows(net, image, engine, 2), net(image))
    assert engine.reasons == {}


def test_a_hook_is_called_and_said(host, warm_cache):
    net, image, seen = host('pvt', 'saga'), torch.rand(1, 3, 48, 32), []
    net.stages[0].blocks[0].mlp.fc1.register_forward_hook(lambda *args: seen.append(args[2].shape))
    with torch.inference_mode():
        wanted = net(image)
        use_engine(net, engine := OpenVINOEngine(cache=warm_cache))
        seen.clear()
        assert_equal(net(image), wanted)
        assert seen == [(1, 12 * 8, 32)]
        assert 'stages.0.blocks.0.mlp.fc1 has a hook' in engine.reasons['PVT']
        # in strips it sees strips, and the other parts are compiled
        seen.clear()
        assert_equal(run_rows(net, image, engine, 4), wanted)
        assert len(seen) > 1
    assert [reason for part, reason in engine.reasons.items() if part.startswith('Block')] == [
        'a Linear in it has a hook'
    ] * 2


class Broken(SAGAAttention):
    """A mixer that cannot write."""

    def write_heads(self, source, keys, values):
        raise RuntimeError('written')


def test_a_break_in_what_saga_writes_is_reached(host, cache):
    net = host('pvt', {'type': Broken}, 1)
    engine = OpenVINOEngine(cache=cache)
    with pytest.raises(RuntimeError, match='written'):
        run_rows(net, torch.rand(1, 3, 32, 32), engine)
    assert 'it does not convert (written)' in engine.reasons.values()


class Sorted(nn.Module):
    """A layer that OpenVINO does not know."""

    def forward(self, x):
        return torch.special.bessel_j0(x)


def test_a_part_that_does_not_convert_runs_in_pytorch(host, cache):
    net, image = host('pvt', 'saga', 1), torch.rand(1, 3, 48, 32)
    net.stages[0].blocks[0].mlp.act = Sorted().eval()
    engine = OpenVINOEngine(cache=cache)
    with torch.inference_mode():
        assert_equal(run_rows(net, image, engine, 4), net(image))
    assert len(engine.reasons) == 1
    assert next(iter(engine.reasons)).startswith('Block')


def test_a_patient_engine_waits_until_it_is_worth_it(host, cache):
    net, image = host('pvt', 'saga', 1), torch.rand(1, 3, 48, 32)
    engine = OpenVINOEngine(patient=True, cache=cache)
    engine.step_seconds = 1000.0
    run_rows(net, image, engine)
    assert all('less than it takes to compile' in reason for reason in engine.reasons.values())
    engine.step_seconds = 0.0
    run_rows(net, image, engine)
    assert engine.reasons == {}
    # another program finds what is compiled, and does not wait
    other = OpenVINOEngine(patient=True, cache=cache)
    other.step_seconds = 1000.0
    with torch.inference_mode():
        assert_equal(run_rows(net, image, other), net(image))
    assert other.reasons == {}


def test_levels_that_share_a_state(warm_cache):
    neck, engine = SAGAPyramid([16, 32], embed_dims=16, num_heads=2).eval(), OpenVINOEngine(cache=warm_cache)
    for layer in neck.leave:
        nn.init.normal_(layer.weight, std=0.1)
    maps = [torch.randn(1, 16, 13, 11), torch.randn(1, 32, 7, 6)]
    runner = RowRunner(rows=3, engine=engine)
    with torch.inference_mode():
        outs = [runner.gather(out) for out in neck.forward_rows([rows_of(x) for x in maps], runner)]
        assert_equal(outs, neck(maps))
    assert engine.reasons == {}


ARCH = {'embed_dims': (8, 16), 'depths': (1, 1), 'num_heads': (0, 2), 'mlp_ratio': 2}
EXPOSED = {'exposure': {'type': 'saga_mm.Exposure'}, 'edges': 'replicate'}


def enhancer(**options: object) -> LowLightEnhancer:
    model = LowLightEnhancer({'type': 'saga_mm.SAGAUNet', 'arch': ARCH}, **options).eval()
    with torch.no_grad():
        for weight in model.parameters():
            weight.add_(0.02 * torch.randn_like(weight))
    return model


def test_an_enhancer_whole_and_in_strips(warm_cache):
    model, engine, image = enhancer(**EXPOSED), OpenVINOEngine(cache=warm_cache), torch.rand(1, 3, 61, 43)
    with torch.inference_mode():
        wanted = model.enhance(image)
        runner = RowRunner(rows=2, engine=engine)
        strips = enhance_rows(model, rows_of(image), runner)
        assert_equal([torch.cat([strips.plane(i, min(i + 7, 61)) for i in range(0, 61, 7)], dim=2)], [wanted])
        use_engine(model, engine)
        assert_equal([model.enhance(image)], [wanted])
    assert engine.reasons == {}
    # nothing that computes much is left to PyTorch
    blocks = [module for module in model.modules() if isinstance(module, LocalBlock | Block)]
    assert all(engine.compiled.programs(block) for block in blocks)


def test_whole_enhancers_are_kept_on_disk(cache):
    model, image = enhancer(**EXPOSED), torch.rand(1, 3, 61, 43)
    wanted = model.enhance(image)
    # a large image is compiled for at once; another program finds that at once
    for large in (0, 2**23):
        engine = OpenVINOEngine(patient=True, cache=cache)
        engine.large_image = large
        assert_equal([use_engine(model, engine).enhance(image)], [wanted])
        assert (engine.reasons, cache.problem, compiled(engine)) == ({}, None, [True])


def test_pieces_go_on_in_pytorch_where_one_fails(host, warm_cache, monkeypatch):
    net, image, engine = host('pvt', 'saga'), torch.rand(1, 3, 61, 40), OpenVINOEngine(cache=warm_cache)
    run_rows(net, image, engine, 2)
    results, calls = RunningCall.results, iter(range(10**6))

    def fail(call):
        if next(calls) in (5, 40):
            raise RuntimeError('no memory')
        return results(call)

    monkeypatch.setattr(RunningCall, 'results', fail)
    with torch.inference_mode():
        assert_equal(run_rows(net, image, engine, 2), net(image))
    assert any('no memory' in reason for reason in engine.reasons.values())


def test_states_that_a_video_carries(warm_cache):
    model, frames = enhancer(), torch.rand(3, 1, 3, 32, 24)
    answers = []
    for engine in (None, OpenVINOEngine(cache=warm_cache)):
        runner = CarryingRunner(RowRunner(engine=engine), 0.5)
        answers.append([])
        for frame in frames:
            runner.begin_frame()
            with torch.inference_mode():
                answers[-1].append(runner.gather(enhance_rows(model, rows_of(frame), runner)))
    assert_equal(answers[1], answers[0])


@pytest.mark.parametrize('options', [{}, EXPOSED], ids=['plain', 'exposed'])
def test_frames_of_a_video_in_one_piece(cache, options):
    model, frames, engine = enhancer(**options), torch.rand(4, 1, 3, 61, 43), OpenVINOEngine(patient=True, cache=cache)
    whole, runner, wanted = CarriedFrames(model, 0.5), CarryingRunner(RowRunner(), 0.5), []
    with torch.inference_mode():
        for i, frame in enumerate(frames):
            if i == 2:
                runner.reset()
            runner.begin_frame()
            rows = enhance_rows(model, rows_of(frame), runner)
            wanted.append(runner.gather(rows.answer)[:, :, :61, :43])
        use_engine(model, engine)
        assert whole.fits(frames[0])
        for i, frame in enumerate(frames):
            if i == 2:
                whole.reset()
            assert_equal([whole(frame)], [wanted[i]])
    # for this size alone, from the first frame on
    assert engine.reasons == {}
    assert compiled(engine) == [True]


@pytest.mark.parametrize('attention', ['softmax', 'rala'])
def test_frames_whose_states_are_no_means_are_left_to_strips(cache, attention):
    backbone = {'type': 'saga_mm.SAGAUNet', 'arch': ARCH, 'attention': attention}
    model = use_engine(LowLightEnhancer(backbone).eval(), OpenVINOEngine(cache=cache))
    with torch.inference_mode():
        assert not CarriedFrames(model).fits(torch.rand(1, 3, 32, 24))


def test_copies_of_a_model_share_the_engine(host, warm_cache):
    net = use_engine(host('pvt', 'saga'), engine := OpenVINOEngine(cache=warm_cache))
    assert copy.deepcopy(net).engine is engine
    net.train()
    assert all(out.requires_grad for out in net(torch.rand(1, 3, 32, 32)))


class Shifted(nn.Module):
    """A layer that computes with a size in Python, which a tracer takes for a constant."""

    def forward(self, x):
        return x + float(x.shape[1])


def test_a_size_that_became_a_constant_is_found(host, cache):
    net, image = host('pvt', 'saga', 1), torch.rand(1, 3, 48, 32)
    net.stages[0].blocks[0].mlp.act = Shifted().eval()
    with torch.inference_mode():
        wanted = net(image)
        engine = OpenVINOEngine(cache=cache)
        assert_equal(use_engine(net, engine)(image), wanted)
    assert 'at another size it differs' in engine.reasons['PVT PyramidBackbone._compute 4']


def test_what_fails_at_some_size_goes_on_in_pytorch(host, warm_cache, monkeypatch):
    net, image, engine = host('pvt', 'saga'), torch.rand(1, 3, 48, 32), OpenVINOEngine(cache=warm_cache)
    run_rows(net, image, engine)

    def fail(*args):
        raise RuntimeError('no such size')

    monkeypatch.setattr('saga_mm.engines.program.Program.start', fail)
    use_engine(net, engine)
    with torch.inference_mode():
        wanted = net._compute(image)
        assert_equal(run_rows(net, image, engine), wanted)
        assert_equal(net(image), wanted)
    assert all('no such size' in reason for reason in engine.reasons.values()) and engine.reasons
