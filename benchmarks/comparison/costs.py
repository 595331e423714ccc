"""Measure the cost of a training step of each mixer: python -m benchmarks.comparison.costs --out RESULTS"""

from __future__ import annotations

import argparse
import json
import time
from pathlib import Path

import numpy as np
import torch
from torch import nn

from saga_mm.display.progress import progress_bar
from saga_mm.files import write_file

from .mixers import CHOICES, MIXERS, build_trunk, matched_ratio

BATCH, SIZE, ROUNDS = 64, 64, 9


def kept_bytes(net: nn.Module, images: torch.Tensor) -> int:
    """Bytes that a forward pass keeps for the backward pass, parameters left out."""
    own = {p.untyped_storage().data_ptr() for p in net.parameters()}
    kept: dict[int, torch.UntypedStorage] = {}

    def pack(tensor: torch.Tensor) -> torch.Tensor:
        storage = tensor.untyped_storage()
        if storage.data_ptr() not in own:
            # held, so that no other takes its place
            kept[storage.data_ptr()] = storage
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
        outs = net(images)
    del outs
    return sum(storage.nbytes() for storage in kept.values())


def step_seconds(net: nn.Module, images: torch.Tensor) -> float:
    """Processor time of a forward and a backward pass."""
    start = time.thread_time()
    net(images)[-1].square().mean().backward()
    return time.thread_time() - start


def measure(trunk: str, mixers: list[str], rounds: int = ROUNDS) -> list[dict]:
    """Time and bytes of each mixer's trunk, divided by those of ``linear``; all take turns.

    Times are medians of the ratios of one round.
    """
    images = torch.randn(BATCH, 3, SIZE, SIZE)
    nets = {mixer: build_trunk(trunk, mixer, SIZE, matched_ratio(trunk, mixer, SIZE)) for mixer in mixers}
    sizes = {mixer: kept_bytes(net, images) for mixer, net in nets.items()}
    times: dict[str, list[float]] = {mixer: [] for mixer in mixers}
    for turn in progress_bar(range(rounds + 1), rounds + 1, f'cost in {trunk}', unit=' rounds'):
        for mixer, net in nets.items():
            seconds = step_seconds(net, images)
            # the first round warms up
            if turn:
                times[mixer].append(seconds)
    return [
        {
            'trunk': trunk,
            'mixer': mixer,
            'time': float(np.median(np.divide(times[mixer], times['linear']))),
            'bytes': sizes[mixer] / sizes['linear'],
        }
        for mixer in mixers
    ]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument('--out', type=Path, required=True, help='folder of the results')
    args = parser.parse_args()
    torch.set_num_threads(1)
    rows = measure('pvt', [*MIXERS, *CHOICES]) + measure('swin', [*MIXERS])
    write_file(args.out / 'costs.json', json.dumps(rows, indent=1) + '\n')


if __name__ == '__main__':
    main()
