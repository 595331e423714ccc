"""Multiply-accumulates, and attention as one kernel, against closed forms worked out by hand."""

from functools import partial

import pytest
import torch
import torch.nn.functional as F
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from saga_mm import create_backbone
from saga_mm.analysis import measure_cost

SCALAR = 4
image = partial(torch.empty, device='meta')


def flop_counter_macs(model: nn.Module, x: torch.Tensor) -> int:
    with FlopCounterMode(display=False) as counter:
        model(x).sum().backward()
    return counter.get_total_flops() // 2


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
        (torch.Tensor.baddbmm_, [(2, 3, 4), (2, 3, 5), (2, 5, 4)], 2 * 3 * 4 * 5),
        (torch.Tensor.addmm_, [(3, 4), (3, 5), (5, 4)], 3 * 4 * 5),
        (torch.addbmm, [(3, 4), (2, 3, 5), (2, 5, 4)], 2 * 3 * 4 * 5),
        (torch.addmv, [(3,), (3, 4), (4,)], 12),
        (lambda a, b: torch.einsum('bnhd,bnhe->bhde', a, b), [(2, 7, 3, 4), (2, 7, 3, 5)], 2 * 7 * 3 * 4 * 5),
        (lambda a: F.interpolate(a, scale_factor=2).softmax(1).mean(), [(1, 2, 4, 4)], 0),
    ],
)
def test_matrix_products(fn, shapes: list, macs: int):
    assert measure_cost(fn, *(image(*shape) for shape in shapes)).macs == macs


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


def test_checkpointed_attention_stays_fused():
    model = create_backbone('pvt_tiny', with_cp=True, drop_path_rate=0.0)
    cost = measure_cost(model, image(1, 3, 64, 64), training=True)
    operators = cost.macs_by_operator
    # once forward, once recomputed
    assert operators['attention'] * 5 == operators['attention backward'] * 4
