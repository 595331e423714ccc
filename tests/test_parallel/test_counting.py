"""Counted bytes, without memory and by processes that send them."""

import torch
from torch import nn

from saga_mm.models.backbones import PVT
from saga_mm.parallel import Bands, Mesh
from saga_mm.parallel.counting import count_bytes

DIMS, DEPTHS, HEADS = (8, 16), (2, 1), (1, 2)
ARCH = {'embed_dims': DIMS, 'depths': DEPTHS, 'num_heads': HEADS, 'mlp_ratios': (2, 2), 'sr_ratios': (4, 2)}


def build() -> nn.Module:
    return PVT(ARCH, attention='saga', out_indices=(0, 1))


def test_what_states_and_halos_of_saga_are():
    net, (height, width), bands = build(), (256, 96), 4
    count = count_bytes(net, net.forward_rows, (height, width), bands, unit=8)
    maps = [(height // 4, width // 4, DIMS[0]), (height // 8, width // 8, DIMS[1])]
    # each block has a local branch of one row on each side, sent across three edges in both directions
    assert count.halos == sum(4 * 2 * (bands - 1) * depth * m[1] * m[2] for depth, m in zip(DEPTHS, maps))
    numbers = [heads * ((dims // heads) ** 2 + dims // heads) + 1 for heads, dims in zip(HEADS, DIMS)]
    ring = [2 * 4 * number * (bands - 1) // bands for number in numbers]
    assert count.states == bands * sum(depth * sent for depth, sent in zip(DEPTHS, ring))
    # what the embedding makes, and each block
    assert count.maps == sum(4 * (1 + depth) * m[0] * m[1] * m[2] for depth, m in zip(DEPTHS, maps))
    assert count.outputs == sum(4 * m[0] * m[1] * m[2] for m in maps)


def test_bytes_do_not_grow_with_the_height():
    counts = [count_bytes(net := build(), net.forward_rows, (height, 64), 4, unit=8) for height in (256, 4096)]
    assert (counts[0].halos, counts[0].states) == (counts[1].halos, counts[1].states)
    assert counts[1].maps == 16 * counts[0].maps


def test_keys_and_values_grow():
    counts = [
        count_bytes(net := PVT(ARCH, attention='softmax', out_indices=(0,)), net.forward_rows, (height, 64), 2, unit=16)
        for height in (256, 512)
    ]
    assert 1.9 < counts[1].states / counts[0].states <= 2


def test_nothing_is_sent_by_one_process():
    net = build()
    count = count_bytes(net, net.forward_rows, (64, 64), 1, unit=8)
    assert count.states == count.halos == count.calls == 0
    mesh = Mesh()
    assert Bands(mesh, 64, 8).own(16) == (0, 16)
    assert torch.equal(mesh.total(torch.ones(2), 'x'), torch.ones(2))
