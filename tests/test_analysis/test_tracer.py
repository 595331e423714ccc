"""Live bytes, whole and by module, against closed forms worked out by hand, all float32 unless it says otherwise."""

from functools import partial

import torch
import torch.nn.functional as F
from torch import nn
from torch.profiler import ProfilerActivity, profile
from torch.utils.checkpoint import checkpoint

from saga_mm import create_backbone
from saga_mm.analysis import measure_cost

SCALAR = 4
image = partial(torch.empty, device='meta')


def mlp(width: int = 8, hidden: int = 32) -> nn.Sequential:
    return nn.Sequential(nn.Linear(width, hidden), nn.ReLU(), nn.Linear(hidden, width))


def test_peak_of_mlp():
    # the activation's input and output live together
    assert measure_cost(mlp(8, 32), image(10, 8)).peak_bytes == 2 * 10 * 32 * 4


def test_peak_of_mlp_training():
    n, hidden = 100, 10 * 32 * 4 * 10
    cost = measure_cost(mlp(8, 32), image(n, 8), training=True)
    # backward of ReLU: its saved output, the gradients of its output and input; the loss and its gradient
    assert cost.peak_bytes == 3 * hidden + 2 * SCALAR
    assert cost.macs == 2 * n * 8 * 32
    # two products for each layer, but the input needs no gradient
    assert cost.backward_macs == 3 * n * 8 * 32
    assert cost.gradient_bytes == 4 * cost.parameters == 4 * (2 * 8 * 32 + 32 + 8)


def test_peak_is_what_eager_pytorch_allocates():
    def allocated(run) -> int:
        with profile(activities=[ProfilerActivity.CPU], profile_memory=True) as prof:
            run()
        events = [event for event in prof.profiler.kineto_results.events() if event.name() == '[memory]']
        live = peak = 0
        for event in sorted(events, key=lambda event: event.start_ns()):
            live += event.nbytes()
            peak = max(peak, live)
        return peak

    torch.manual_seed(0)
    arch = dict(embed_dims=(16, 32), num_heads=(1, 2), mlp_ratios=(4, 4), sr_ratios=(4, 2), depths=(1, 1))
    model = create_backbone('saga_pvt_tiny', arch=arch, out_indices=(0, 1))
    for parameter in model.parameters():
        parameter.register_post_accumulate_grad_hook(lambda p: setattr(p, 'grad', None))
    x = torch.rand(1, 3, 256, 192)

    @torch.no_grad()
    def infer():
        model.eval()(x)

    def train():
        sum(out.sum() for out in model.train()(x)).backward()

    # the slack is for what kernels use inside, on whatever machine this runs
    traced = measure_cost(model, x).peak_bytes
    assert traced <= allocated(infer) <= 1.05 * traced
    traced = measure_cost(model, x, training=True).peak_bytes
    assert 0.999 * traced <= allocated(train) <= 1.05 * traced


def test_inference_mode_inside_the_model_changes_nothing():
    model = mlp()

    def forward(x):
        with torch.inference_mode():
            return model(x)

    expected, cost = measure_cost(model, image(4, 8)), measure_cost(forward, image(4, 8))
    assert (cost.macs, cost.peak_bytes) == (expected.macs, expected.peak_bytes)


def test_views_count_once():
    def fn(x):
        y = x * 2
        parts = y.view(4, 4).t().chunk(2)
        return y[:1], parts, y.expand(7, 16).detach()

    assert measure_cost(fn, image(1, 16)).peak_bytes == 64


def test_expanded_tensor_counts_its_storage():
    assert measure_cost(lambda x: (x + 1).expand(1000, 16), image(1, 16)).peak_bytes == 64


def test_views_and_changes_of_inputs_and_weights_are_free():
    weight = torch.rand(16, 16)
    assert measure_cost(lambda x: (x.view(4, 4).t(), weight.t()[2:], x.mul_(2)), image(16)).peak_bytes == 0


def test_in_place_and_out():
    def fn(x):
        y = x + 1
        y.relu_().mul_(2)
        torch.add(x, 1, out=y)
        return F.relu(y, inplace=True)

    assert measure_cost(fn, image(16)).peak_bytes == 64
    assert measure_cost(lambda x: F.relu(x + 1), image(16)).peak_bytes == 128


def test_resized_storage_counts_its_new_size():
    def fn(x):
        y = x.new_empty(0)
        torch.add(x, 1, out=y)
        return y

    assert measure_cost(fn, image(16)).peak_bytes == 64


def test_dropped_tensors_are_freed():
    def fn(x, keep: bool):
        y = x + 1
        z = y + 1
        if not keep:
            del y
        return z + 1

    assert measure_cost(fn, image(16), keep=True).peak_bytes == 3 * 64
    assert measure_cost(fn, image(16), keep=False).peak_bytes == 2 * 64


def test_several_results_of_one_operator():
    # values are float32, indices int64
    assert measure_cost(lambda x: x.max(dim=0), image(3, 16)).peak_bytes == 16 * (4 + 8)
    assert measure_cost(lambda x: (x + 1).unbind(), image(3, 16)).peak_bytes == 3 * 64


def test_what_a_module_keeps_stays_alive():
    class Keeps(nn.Module):
        def forward(self, x):
            self.kept = [x + i for i in range(4)]
            return x + 1

    assert measure_cost(Keeps(), image(16)).peak_bytes == 5 * 64


class Checkpointed(nn.Module):
    def __init__(self, reuse: bool) -> None:
        super().__init__()
        self.blocks = nn.ModuleList(mlp(8, 64) for _ in range(4))
        self.reuse = reuse

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        for block in self.blocks:
            x = checkpoint(block, x, use_reentrant=False) if self.reuse else block(x)
        return x


def test_checkpointing():
    n = 100
    plain = measure_cost(Checkpointed(False), image(n, 8), training=True)
    saved = measure_cost(Checkpointed(True), image(n, 8), training=True)
    layer = n * 8 * 64
    assert saved.macs == plain.macs == 8 * layer
    # recomputation stops at the last tensor that is needed, which is before the second layer of each block
    assert saved.backward_macs == plain.backward_macs + 4 * layer
    wide, narrow = n * 64 * 4, n * 8 * 4
    # outputs of three blocks, then in the last block: the saved activation, two gradients
    assert saved.peak_bytes == 3 * narrow + 3 * wide + 2 * SCALAR
    assert plain.peak_bytes == 3 * narrow + 6 * wide + 2 * SCALAR
    # what runs again belongs to the backward pass, not to the module; a list is never called
    assert [part.macs for part in saved.modules.values()] == [part.macs for part in plain.modules.values()]
    assert 'blocks.0' in saved.modules and 'blocks' not in saved.modules


def test_modules():
    model = nn.Sequential()
    model.add_module('wide', nn.Sequential(nn.Linear(8, 64), nn.Linear(64, 8)))
    model.add_module('narrow', nn.Linear(8, 4))
    cost = measure_cost(model, image(10, 8))
    assert list(cost.modules) == ['wide', 'wide.0', 'wide.1', 'narrow']
    assert cost.modules['wide'].macs == 2 * 10 * 8 * 64
    assert cost.modules['wide'].parameters == 8 * 64 + 64 + 64 * 8 + 8
    assert cost.modules['wide'].peak_bytes == cost.peak_bytes == 10 * (64 + 8) * 4
    assert cost.modules['narrow'].peak_bytes == 10 * (8 + 4) * 4


def test_shared_parameters_count_once():
    first, second = nn.Linear(8, 8), nn.Linear(8, 8)
    second.weight = first.weight
    cost = measure_cost(nn.Sequential(first, second), image(1, 8), training=True)
    assert cost.parameters == 64 + 16 and cost.gradient_bytes == 4 * 80


def test_frozen_parameters_have_no_gradient():
    model = mlp()
    model[0].requires_grad_(False)
    cost = measure_cost(model, image(5, 8), training=True)
    assert cost.gradient_bytes == 4 * (32 * 8 + 8) and cost.backward_macs == 5 * 32 * 8


def test_convolution_passes_channels_last_on():
    def fn(x, weight):
        return F.conv2d(x, weight).flatten(2).transpose(1, 2).contiguous()

    x, weight = image(1, 4, 8, 8), image(4, 4, 1, 1)
    assert measure_cost(fn, x, weight).peak_bytes == 2 * 4 * 64 * 4
    assert measure_cost(fn, x.contiguous(memory_format=torch.channels_last), weight).peak_bytes == 4 * 64 * 4


def test_autocast():
    def fn(x, weight):
        with torch.autocast(x.device.type, dtype=torch.bfloat16):
            return x @ weight

    # the product and the two inputs in half precision
    assert measure_cost(fn, image(8, 8), image(8, 8)).peak_bytes == 3 * 64 * 2
