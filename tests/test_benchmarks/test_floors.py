"""Bytes that must be moved, against numbers worked out by hand."""

import pytest
import torch
from torch import nn

from benchmarks.cases import Case
from benchmarks.cores import CORES, core_bytes
from benchmarks.floors import attention_passes, backbone_bytes, weight_bytes
from benchmarks.nets import ends_bytes
from benchmarks.op import build_op
from saga_mm.models.backbones import create_backbone

ARCH = {'embed_dims': (8, 16), 'depths': (1, 2), 'num_heads': (1, 2), 'mlp_ratios': (2, 2), 'sr_ratios': (4, 1)}


def test_passes_of_attention():
    # one sweep: tokens are read to write the state, read to be answered, and the answer is written
    assert attention_passes(1, False) == 3
    # backward: tokens and gradients are read for the state's gradient and for theirs, which are written
    assert attention_passes(1, True) == 3 + 5
    assert attention_passes(2, False) == 4 and attention_passes(2, True) == 4 + 7


@pytest.mark.parametrize(
    ('name', 'forward', 'both'),
    [
        # in tokens x channels: q, k, v and the answer; then as many gradients, and all but the answer again
        ('linear', 4, 11),
        ('saga', 6, 17),
        # the mean query must be known before any weight
        ('rala', 5, 14),
    ],
)
def test_cores_of_linear_attention(name, forward, both):
    tokens = torch.zeros(2, 30, 4, 8, dtype=torch.bfloat16)
    inputs = (tokens,) * len(CORES[name].takes)
    assert core_bytes(CORES[name], inputs, False) == forward * 2 * 30 * 32 * 2
    assert core_bytes(CORES[name], inputs, True) == both * 2 * 30 * 32 * 2


def test_cores_of_softmax_have_fewer_keys():
    subject = build_op(Case('op', 'core stage 1', 'fused', (256, 128)), 'cpu')
    queries, keys = 64 * 32 * 64 * 4, 8 * 4 * 64 * 4
    assert [t.shape for t in subject.inputs] == [(1, 2048, 1, 64), (1, 32, 1, 64), (1, 32, 1, 64)]
    assert subject.floor_bytes == 2 * queries + 2 * keys


def test_layers():
    tokens, weights = 16 * 8 * 320 * 4, 4 * (4 * 320 * 320 + 4 * 320) + 4 * (320 * 320 * 4 + 320 + 2 * 320)
    case = Case('op', 'layer stage 3', 'fused', (256, 128))
    assert build_op(case, 'meta').floor_bytes == 3 * tokens + weights
    assert build_op(Case(**{**vars(case), 'backward': True}), 'meta').floor_bytes == 8 * tokens + 3 * weights
    assert attention_passes(build_op(Case(**{**vars(case), 'name': 'rala'}), 'meta').module.mixer.sweeps, False) == 4


@pytest.mark.parametrize('backward', [False, True])
def test_backbone(backward):
    net = create_backbone('saga_pvt_tiny', arch=ARCH, out_indices=(0, 1))
    # maps round up: 33 x 30 pixels are 9 x 8 and 5 x 4 tokens
    image, first, second = 2 * 3 * 33 * 30, 2 * 8 * 72, 2 * 16 * 20
    weights = 4 * sum(p.numel() for p in net.parameters())
    forward = (image + first) + 3 * first + (first + second) + 2 * 3 * second
    # the gradient of the image is nobody's
    back = (image + first) + 5 * first + (2 * first + second) + 2 * 5 * second
    expected = 4 * (forward + back) + 3 * weights if backward else 4 * forward + weights
    assert backbone_bytes(net, 2, (33, 30), 4, backward) == expected


def test_of_anything_else():
    net = nn.Linear(3, 4).half()
    assert weight_bytes(net, False) == 2 * 16 and weight_bytes(net, True) == 6 * 16
    assert ends_bytes(net, torch.zeros(1, 3, 5, 7), False) == 2 * 16 + 2 * 4 * 105
