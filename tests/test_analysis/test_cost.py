"""MACs and live bytes against closed forms worked out by hand, all float32 unless it says otherwise."""

import gc
import resource

import pytest
import torch
import torch.nn.functional as F
from torch import nn
from torch.profiler import ProfilerActivity, profile
from torch.utils.checkpoint import checkpoint
from torch.utils.flop_counter import FlopCounterMode

from saga_mm import SagaError, create_backbone
from saga_mm.analysis import LargestTensor, UntraceableError, measure_cost

SCALAR = 4


def image(*shape: int, **kwargs) -> torch.Tensor:
    return torch.empty(*shape, device='meta', **kwargs)


def mlp(width: int = 8, hidden: int = 32) -> nn.Sequential:
    return nn.Sequential(nn.Linear(width, hidden), nn.ReLU(), nn.Linear(hidden, width))


def flop_counter_macs(model: nn.Module, x: torch.Tensor) -> int:
    with FlopCounterMode(display=False) as counter:
        model(x).sum().backward()
    return counter.get_total_flops() // 2


def test_linear():
    cost = measure_cost(nn.Linear(8, 16), image(2, 5, 8))
    assert cost.parameters == 8 * 16 + 16
    assert cost.macs == 2 * 5 * 8 * 16
    assert cost.peak_bytes == 2 * 5 * 16 * 4
    assert cost.largest == LargestTensor((10, 16), torch.float32, 640, 'aten.addmm')
    assert cost.backward_macs == cost.gradient_bytes == 0


@pytest.mark.parametrize(
    ('conv', 'shape', 'macs'),
    [
        (nn.Conv2d(6, 12, 3, padding=1), (2, 6, 9, 7), 2 * 9 * 7 * 12 * 6 * 9),
        (nn.Conv2d(6, 12, 3, stride=2, groups=3), (2, 6, 9, 7), 2 * 4 * 3 * 12 * 2 * 9),
        (nn.Conv2d(6, 6, 3, padding=2, dilation=2, groups=6), (1, 6, 9, 7), 9 * 7 * 6 * 9),
        (nn.ConvTranspose2d(6, 4, 2, stride=2), (1, 6, 5, 3), 5 * 3 * 6 * 4 * 4),
        (nn.ConvTranspose2d(6, 4, 3, stride=2, groups=2), (1, 6, 5, 3), 5 * 3 * 6 * 2 * 9),
        (nn.Conv1d(4, 8, 3), (1, 4, 10), 8 * 8 * 4 * 3),
        (nn.Conv3d(2, 4, 3), (1, 2, 5, 5, 5), 27 * 4 * 2 * 27),
    ],
)
def test_convolution(conv: nn.Module, shape: tuple, macs: int):
    assert measure_cost(conv, image(*shape)).macs == macs
    # the first layer needs no gradient of its input; a grouped weight gradient costs as much as the forward pass
    assert measure_cost(conv, image(*shape), training=True).backward_macs == macs
    assert measure_cost(conv, image(*shape, requires_grad=True), training=True).backward_macs == 2 * macs


def test_equals_torch_flop_counter():
    torch.manual_seed(0)
    model = nn.Sequential(
        nn.Conv2d(3, 16, 4, 4),
        nn.BatchNorm2d(16),
        nn.GELU(),
        nn.Flatten(2),
        nn.Linear(16, 24),
        nn.LayerNorm(24),
        nn.Linear(24, 5),
    )
    x = torch.rand(2, 3, 16, 16)
    expected = flop_counter_macs(model, x)
    cost = measure_cost(model, x, training=True)
    assert cost.macs + cost.backward_macs == expected
    assert sum(cost.macs_by_operator.values()) == expected


@pytest.mark.parametrize(
    ('fn', 'shapes', 'macs'),
    [
        (torch.matmul, [(2, 3, 4, 5), (5, 6)], 2 * 3 * 4 * 5 * 6),
        (torch.matmul, [(4, 5), (5,)], 20),
        (torch.matmul, [(5,), (5,)], 5),
        (torch.baddbmm, [(2, 3, 4), (2, 3, 5), (2, 5, 4)], 2 * 3 * 4 * 5),
        (torch.addbmm, [(3, 4), (2, 3, 5), (2, 5, 4)], 2 * 3 * 4 * 5),
        (torch.addmv, [(3,), (3, 4), (4,)], 12),
        (lambda a, b: torch.einsum('bnhd,bnhe->bhde', a, b), [(2, 7, 3, 4), (2, 7, 3, 5)], 2 * 7 * 3 * 4 * 5),
        (lambda a: F.interpolate(a, scale_factor=2).softmax(1).mean(), [(1, 2, 4, 4)], 0),
    ],
)
def test_matrix_products(fn, shapes: list, macs: int):
    assert measure_cost(fn, *(image(*shape) for shape in shapes)).macs == macs


def test_inference_mode_inside_the_model_changes_nothing():
    model = mlp()

    def forward(x):
        with torch.inference_mode():
            return model(x)

    expected, cost = measure_cost(model, image(4, 8)), measure_cost(forward, image(4, 8))
    assert (cost.macs, cost.peak_bytes) == (expected.macs, expected.peak_bytes)


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


B, H, N, M, D = 2, 4, 30, 18, 8


def qkv(dtype=torch.float32, **kwargs) -> tuple[torch.Tensor, ...]:
    return tuple(image(B, H, length, D, dtype=dtype, **kwargs) for length in (N, M, M))


def naive_attention(q, k, v):
    return (q @ k.transpose(-2, -1)).softmax(-1) @ v


def test_fused_attention_has_no_map():
    fused = measure_cost(F.scaled_dot_product_attention, *qkv())
    naive = measure_cost(naive_attention, *qkv())
    assert fused.macs == naive.macs == 2 * B * H * N * M * D
    assert fused.peak_bytes == B * H * N * D * 4
    assert naive.peak_bytes == 2 * B * H * N * M * 4
    assert fused.macs_by_operator == {'attention': fused.macs}


@pytest.mark.parametrize(
    'options',
    [
        dict(is_causal=True),
        dict(dropout_p=0.5),
        dict(scale=1.0),
        dict(attn_mask=image(N, M, dtype=torch.bool)),
        dict(attn_mask=image(B, 1, N, M)),
    ],
)
@pytest.mark.parametrize('dtype', [torch.float32, torch.float64, torch.bfloat16])
def test_fused_attention_whatever_the_options(options: dict, dtype: torch.dtype):
    if options.get('attn_mask', torch.empty(0, dtype=torch.bool)).dtype == torch.float32:
        options = dict(attn_mask=options['attn_mask'].to(dtype))
    cost = measure_cost(F.scaled_dot_product_attention, *qkv(dtype), **options)
    assert cost.macs == 2 * B * H * N * M * D
    assert cost.peak_bytes == B * H * N * D * dtype.itemsize


def test_fused_attention_whatever_the_shapes():
    def cost(*shapes, **options):
        result = measure_cost(F.scaled_dot_product_attention, *(image(*shape) for shape in shapes), **options)
        return result.macs, result.peak_bytes

    assert cost((N, D), (M, D), (M, D)) == (2 * N * M * D, N * D * 4)
    assert cost((B, N, D), (B, M, D), (B, M, 3)) == (B * N * M * (D + 3), B * N * 3 * 4)
    grouped = cost((B, H, N, D), (B, 2, M, D), (B, 2, M, D), enable_gqa=True)
    assert grouped == cost((B, H, N, D), (1, H, M, D), (B, 1, M, D)) == (2 * B * H * N * M * D, B * H * N * D * 4)
    with pytest.raises(ValueError, match='do not fit'):
        cost((B, H, N, D), (B, H, M, D + 1), (B, H, M, D))


def test_fused_attention_output_merges_heads_without_a_copy():
    def merged(q, k, v):
        return F.scaled_dot_product_attention(q, k, v).transpose(1, 2).flatten(2)

    assert measure_cost(merged, *qkv()).peak_bytes == B * H * N * D * 4


def test_fused_attention_backward():
    cost = measure_cost(F.scaled_dot_product_attention, *qkv(requires_grad=True), training=True)
    assert cost.backward_macs == 5 * B * H * N * M * D
    output, logsumexp, gradients = B * H * N * D * 4, B * H * N * 4, B * H * (N + 2 * M) * D * 4
    assert cost.peak_bytes == output + logsumexp + gradients + 2 * SCALAR


def test_fused_attention_gradient_of_a_bias():
    bias = image(H, N, M, requires_grad=True)
    cost = measure_cost(F.scaled_dot_product_attention, *qkv(), attn_mask=bias, training=True)
    # kernels give it for every image, and it is then summed to the bias's shape
    bias_bytes = H * N * M * 4
    assert cost.peak_bytes == B * H * N * (D + 1) * 4 + B * bias_bytes + bias_bytes + 2 * SCALAR


@pytest.mark.parametrize('training', [False, True])
def test_multihead_attention_modules(training: bool):
    tokens, heads, width = 40, 2, 16
    attention = nn.MultiheadAttention(width, heads, batch_first=True)
    x = image(1, tokens, width)
    projections = 4 * tokens * width * width
    for need_weights in (False, True):
        cost = measure_cost(attention, x, x, x, training=training, need_weights=need_weights)
        assert cost.macs == projections + 2 * tokens * tokens * width
        assert (cost.largest.bytes >= heads * tokens * tokens * 4) == need_weights
    layer = nn.TransformerEncoderLayer(width, heads, dim_feedforward=32, batch_first=True)
    layer_cost = measure_cost(layer, x, training=training)
    assert layer_cost.macs == projections + 2 * tokens * tokens * width + 2 * tokens * width * 32


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


def test_checkpointed_attention_stays_fused():
    model = create_backbone('pvt_tiny', with_cp=True, drop_path_rate=0.0)
    cost = measure_cost(model, image(1, 3, 64, 64), training=True)
    operators = cost.macs_by_operator
    # once forward, once recomputed
    assert operators['attention'] * 5 == operators['attention backward'] * 4


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


def test_compiled_operators_are_refused():
    ops = pytest.importorskip('mmcv.ops')
    with pytest.raises(UntraceableError, match='compiled operator'):
        measure_cost(lambda boxes, scores: ops.nms(boxes, scores, 0.5), image(10, 4), image(10))


def test_training_needs_something_to_train():
    with pytest.raises(SagaError, match='nothing to train'):
        measure_cost(mlp().requires_grad_(False), image(4, 8), training=True)


def test_errors_of_the_model_pass_through():
    with pytest.raises(RuntimeError, match=r'reduction dim|multiplied'):
        measure_cost(mlp(), image(4, 9))


@pytest.mark.parametrize(('side', 'attention'), [(224, 0.076), (512, 2.08), (1280, 81.26)])
def test_pvt_tiny_softmax(side: int, attention: float):
    cost = measure_cost(create_backbone('pvt_tiny'), image(1, 3, side, side))
    keys = (side // 32) ** 2
    core = sum(2 * 2 * (side // stride) ** 2 * keys * c for stride, c in ((4, 64), (8, 128), (16, 320), (32, 512)))
    assert cost.macs_by_operator['attention'] == core
    assert core == pytest.approx(attention * 1e9, rel=0.01)
    assert cost.macs - core == pytest.approx(1.85e9 * (side / 224) ** 2, rel=0.01)
    # the feed-forward layer of stage 1, in one piece: eight times as wide before and after its activation, and three
    # token tensors; in chunks of rows, less
    whole = (2 * 8 + 3) * (side // 4) ** 2 * 64 * 4
    assert cost.peak_bytes == whole if side < 512 else cost.peak_bytes < whole


@pytest.mark.parametrize(('name', 'gib'), [('saga_pvt_tiny', 0.1), ('pvt_tiny', 0.11)])
def test_peak_of_inference_at_1280_is_that_of_chunks_of_rows(name: str, gib: float):
    cost = measure_cost(create_backbone(name), image(1, 3, 1280, 1280))
    assert 0.8 * gib < cost.peak_bytes / 2**30 < gib


def test_chunks_repeat_little():
    model, x = create_backbone('saga_pvt_tiny'), image(1, 3, 1280, 1280)
    # values are projected once more, and so is what stands at the edges of a chunk
    assert 1 < measure_cost(model, x).macs / measure_cost(model, x, training=True).macs < 1.06


def test_a_large_model_on_a_large_image():
    arch = dict(embed_dims=(8, 16, 40, 64), num_heads=(1, 2, 5, 8), mlp_ratios=(8, 8, 4, 4), sr_ratios=(8, 4, 2, 1))
    model = create_backbone('pvt_large', arch=dict(arch, depths=(3, 8, 27, 3)))
    cost = measure_cost(model, image(1, 3, 4096, 4096))
    assert cost.macs > 4e12
