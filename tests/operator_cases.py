"""Inputs for the operators and the answers of mmcv's compiled ones to them, stored in ``tests/golden/operators.npz``.

``python tests/operator_cases.py`` writes the file anew, in an environment with compiled operators.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import torch
from torch import Tensor

GOLDEN = Path(__file__).with_name('golden') / 'operators.npz'
MAP = (2, 3, 11, 17)
ALIGN = {
    f'align_{size[0]}x{size[1]}_{samples}_{"centre" if aligned else "corner"}': (size, scale, samples, aligned)
    for size, scale, samples in (((7, 7), 0.25, 0), ((3, 2), 1.0, 0), ((2, 5), 1 / 3, 2), ((1, 1), 0.5, 1))
    for aligned in (True, False)
}
SUPPRESS = {'nms_1': (1, 0.5, 0), 'nms_37': (37, 0.3, 1), 'nms_64': (64, 0.7, 0), 'nms_700': (700, 0.5, 0)}
SOFT = {f'soft_{method}_{offset}': (method, offset) for method in ('naive', 'linear', 'gaussian') for offset in (0, 1)}


def boxes_of(count: int) -> tuple[Tensor, Tensor]:
    """Crowded boxes, some without area, turned around or outside the image; some scores are equal."""
    rng = np.random.default_rng(count)
    centre = rng.integers(-4, 40 + count // 32, (count, 2))
    half = rng.integers(0, 80, (count, 2)) / 8
    boxes = np.concatenate([centre - half, centre + half], 1)
    boxes[::13, 2] = boxes[::13, 0] - 2
    scores = rng.integers(0, 5 * count, count) / (5 * count)
    return torch.from_numpy(boxes).float(), torch.from_numpy(scores).float()


def rois_of(scale: float) -> Tensor:
    """Boxes in pixels of the image: inside, across each side, outside, of no size, at the very edge of the map."""
    height, width = MAP[2:]
    on_map = [
        (0, 1.3, 2.2, 9.7, 8.1),
        (1, -3.0, -2.0, 5.5, 4.25),
        (1, 8.0, 6.0, 25.5, 19.0),
        (0, -30.0, -20.0, -18.0, -12.0),
        (0, 4.0, 4.0, 4.0, 4.0),
        (1, 3.5, 7.0, 3.5, 9.5),
        (0, 0.0, 0.0, width, height),
        (1, -1.0, -1.0, width + 1, height + 1),
        (0, width - 1, height - 1, width, height),
        (1, 5.1, 3.3, 5.4, 3.9),
        (0, -40.0, -9.0, 60.0, 33.0),
    ]
    return torch.tensor(on_map) / torch.tensor([1.0, *[scale] * 4])


def maps_and_gradient(size: tuple[int, int]) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(7)
    maps = torch.randn(MAP, generator=generator)
    return maps, torch.randn(len(rois_of(1.0)), MAP[1], *size, generator=generator)


def aligned_by(
    align: Callable[..., Tensor], name: str, dtype: torch.dtype = torch.float32, rounded: torch.dtype = torch.float32
) -> dict[str, Tensor]:
    """Answers of a function with mmcv's arguments to a case, with rounded inputs: bins and gradient."""
    size, scale, samples, aligned = ALIGN[name]
    maps, gradient = maps_and_gradient(size)
    maps = maps.to(rounded).to(dtype).requires_grad_()
    bins = align(maps, rois_of(scale).to(rounded).to(dtype), size, scale, samples, 'avg', aligned)
    bins.backward(gradient.to(rounded).to(dtype))
    return {name: bins.detach(), f'{name}_gradient': maps.grad}


def suppressed_by(ops: ModuleType) -> Iterator[tuple[str, Tensor]]:
    """What mmcv's functions answer to the other cases."""
    for name, (count, threshold, offset) in SUPPRESS.items():
        yield name, ops.nms(*boxes_of(count), threshold, offset)[1]
    for name, (method, offset) in SOFT.items():
        found, kept = ops.soft_nms(*boxes_of(70), 0.3, 0.5, 0.05, method, offset)
        yield name, kept
        yield f'{name}_boxes', found
    for name, options in batched_cases().items():
        boxes, scores = boxes_of(150)
        found, kept = ops.batched_nms(boxes, scores, torch.arange(150) % 4, options)
        yield name, kept
        yield f'{name}_boxes', found


def batched_cases() -> dict[str, dict[str, Any]]:
    return {
        'batched': dict(type='nms', iou_threshold=0.4),
        'batched_split': dict(type='nms', iou_threshold=0.4, split_thr=100, max_num=60),
        'batched_soft': dict(type='soft_nms', iou_threshold=0.4, min_score=0.05),
        'batched_agnostic': dict(type='nms', iou_threshold=0.4, class_agnostic=True),
    }


def answers_of(ops: ModuleType) -> dict[str, np.ndarray]:
    """All answers of mmcv's functions, with whatever is below them."""
    answers = dict(suppressed_by(ops))
    for name in ALIGN:
        answers |= aligned_by(ops.roi_align, name)
    return {name: answer.numpy() for name, answer in answers.items()}


if __name__ == '__main__':
    np.savez_compressed(GOLDEN, **answers_of(importlib.import_module('mmcv.ops')))
    print(GOLDEN, GOLDEN.stat().st_size)
