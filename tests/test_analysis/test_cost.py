"""What measuring the cost of a model gives, refuses, and leaves alone."""

import gc
import resource
from functools import cache, partial

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from saga_mm import SagaError, create_backbone
from saga_mm.analysis import Cost, LargestTensor, UntraceableError, measure_cost

image = partial(torch.empty, device='meta')


@cache
def cost_of(name: str, side: int) -> Cost:
    """The cost of a backbone for a square image."""
    with torch.device('meta'):
        return measure_cost(create_backbone(name), image(1, 3, side, side))


def test_linear():
    cost = measure_cost(nn.Linear(8, 16), image(2, 5, 8))
    assert cost.parameters == 8 * 16 + 16
    assert cost.macs == 2 * 5 * 8 * 16
    assert cost.peak_bytes == 2 * 5 * 16 * 4
    assert cost.largest == LargestTensor((10, 16), torch.float32, 640, 'aten.addmm')
    assert cost.backward_macs == cost.gradient_bytes == 0


def test_reference_cycles_do_not_depend_on_the_collector():
    def fn(x):
        for _ in range(50):
            cycle = [x + 1]
            cycle.append(cycle)
        return x + 1

    threshold = gc.get_threshold()
    gc.set_threshold(1)
    try:
        assert measure_cost(fn, image(16)).peak_bytes == 51 * 64
    finally:
        gc.set_threshold(*threshold)
    assert gc.isenabled()


class Cache(nn.Module):
    """Keeps a table and every output, and changes a buffer."""

    def __init__(self) -> None:
        super().__init__()
        self.linear = nn.Linear(8, 8)
        self.norm = nn.BatchNorm1d(8)
        self.table = torch.arange(8.0)
        self.kept = []

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        self.last = self.norm(self.linear(x)) + self.table
        self.kept.append(self.last)
        return self.last


def test_the_model_is_left_alone():
    model = Cache().eval()
    state = {name: value.clone() for name, value in model.state_dict().items()}
    first = measure_cost(model, image(4, 8), training=True)
    assert measure_cost(model, image(4, 8), training=True) == first
    assert not model.training and model.kept == [] and not hasattr(model, 'last')
    assert all(p.grad is None for p in model.parameters())
    assert all(torch.equal(value, state[name]) for name, value in model.state_dict().items())
    assert type(model.linear.weight) is nn.Parameter
    assert not model.linear._forward_hooks and not model.linear._forward_pre_hooks


def test_method_of_a_module():
    class Model(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.body = nn.Linear(8, 8)

        def extract(self, x, *, factor):
            self.touched = True
            return {'out': [self.body(x) * factor]}

    model = Model()
    cost = measure_cost(model.extract, image(3, 8), factor=2)
    assert cost.macs == cost.modules['body'].macs == 3 * 8 * 8
    assert cost.parameters == 72 and not hasattr(model, 'touched')


def test_number_does_not_depend_on_the_machine(monkeypatch):
    """Threads, convolution library, layout of the weights' memory and device of the model must not matter."""

    def block(channels_last: bool) -> nn.Module:
        model = nn.Sequential(nn.Conv2d(3, 8, 3, padding=1), nn.Conv2d(8, 8, 3, groups=8), nn.GELU(), nn.Flatten())
        return model.to(memory_format=torch.channels_last if channels_last else torch.contiguous_format)

    threads = torch.get_num_threads()
    x = image(2, 3, 33, 31)
    for channels_last in (False, True):
        model = block(channels_last)
        costs = [measure_cost(model, x, training=True)]
        costs.append(measure_cost(model.to('meta'), x, training=True))
        try:
            torch.set_num_threads(1)
            with torch.device('meta'), monkeypatch.context() as patch:
                patch.setattr(torch.backends.mkldnn, 'enabled', False)
                costs.append(measure_cost(model, x, training=True))
        finally:
            torch.set_num_threads(threads)
        assert all(cost == costs[0] for cost in costs)


def test_no_memory_is_used():
    model = nn.Conv2d(3, 64, 3, padding=1)
    measure_cost(model, image(1, 3, 8, 8))
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    cost = measure_cost(model, image(1, 3, 16384, 16384))
    # kilobytes on Linux, bytes on macOS: 100 MB and more in both
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 100_000
    assert cost.peak_bytes == 64 * 16384**2 * 4
    assert cost.macs == 16384**2 * 64 * 3 * 9


@pytest.mark.parametrize(
    'fn',
    [
        lambda x: x[x > 0],
        lambda x: x if x.sum() > 0 else -x,
        lambda x: x.mean().item(),
        lambda x: torch.nonzero(x),
    ],
)
def test_what_depends_on_the_data_is_refused(fn):
    with pytest.raises(UntraceableError, match='cannot be traced'):
        measure_cost(fn, image(4))
    assert F.scaled_dot_product_attention is torch._C._nn.scaled_dot_product_attention


def test_operators_of_mmcv_are_refused():
    ops = pytest.importorskip('mmcv.ops')
    with pytest.raises(UntraceableError, match=r'compiled operator|cannot be traced'):
        measure_cost(lambda boxes, scores: ops.nms(boxes, scores, 0.5), image(10, 4), image(10))


def test_training_needs_something_to_train():
    with pytest.raises(SagaError, match='nothing to train'):
        measure_cost(nn.Linear(8, 4).requires_grad_(False), image(4, 8), training=True)


def test_errors_of_the_model_pass_through():
    with pytest.raises(RuntimeError, match=r'reduction dim|multiplied'):
        measure_cost(nn.Linear(8, 4), image(4, 9))


@pytest.mark.parametrize(('side', 'attention'), [(224, 0.076), (512, 2.08), (1280, 81.26)])
def test_pvt_tiny_softmax(side: int, attention: float):
    cost = cost_of('pvt_tiny', side)
    keys = (side // 32) ** 2
    core = sum(2 * 2 * (side // stride) ** 2 * keys * c for stride, c in ((4, 64), (8, 128), (16, 320), (32, 512)))
    assert cost.macs_by_operator['attention'] == core
    assert core == pytest.approx(attention * 1e9, rel=0.01)
    assert cost.macs - core == pytest.approx(1.85e9 * (side / 224) ** 2, rel=0.005)
    # no more than the feed-forward layer of stage 1 in one piece: eight times as wide before and after its activation,
    # and three token tensors
    assert cost.peak_bytes <= (2 * 8 + 3) * (side // 4) ** 2 * 64 * 4


@pytest.mark.parametrize(('name', 'gib'), [('saga_pvt_tiny', 0.075), ('pvt_tiny', 0.085)])
def test_peak_of_inference_at_1280_is_that_of_pieces(name: str, gib: float):
    assert 0.8 * gib < cost_of(name, 1280).peak_bytes / 2**30 < gib


def test_saga_takes_little_more_than_half_the_products_of_softmax_at_1280():
    assert cost_of('saga_pvt_tiny', 1280).macs < 0.56 * cost_of('pvt_tiny', 1280).macs


def test_chunks_repeat_little():
    with torch.device('meta'):
        whole = measure_cost(create_backbone('saga_pvt_tiny'), image(1, 3, 1280, 1280), training=True)
    # values are projected once more, and so is what stands at the edges of a chunk
    assert 1 < cost_of('saga_pvt_tiny', 1280).macs / whole.macs < 1.08


def test_a_large_model_on_a_large_image():
    arch = dict(embed_dims=(8, 16, 40, 64), num_heads=(1, 2, 5, 8), mlp_ratios=(8, 8, 4, 4), sr_ratios=(8, 4, 2, 1))
    model = create_backbone('pvt_large', arch=dict(arch, depths=(1, 2, 27, 1)))
    # more products than 32 bits count
    assert measure_cost(model, image(1, 3, 2048, 2048)).macs > 1e11
