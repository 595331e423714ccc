"""Train on small crops first and on larger ones later."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from mmengine.hooks import Hook

from saga_mm.errors import SagaError
from saga_mm.registry import HOOKS


@HOOKS.register_module()
class ProgressiveCropHook(Hook):
    """Crops the images of a batch to the current size; the pipeline loads them at the largest.

    Each image is cut at a place of its own, its ground truth at the same one. Images that are smaller stay as they are.

    Args:
        sizes: Height and width of the crops in pixels, one after the other.
        starts: The share of the training's iterations after which each size begins: 0, and rising.

    Raises:
        SagaError: The two lists do not fit each other.
    """

    def __init__(self, sizes: Sequence[int] = (96, 128, 192), starts: Sequence[float] = (0.0, 0.4, 0.7)) -> None:
        rising = list(starts) == sorted(starts) and all(0 <= start < 1 for start in starts)
        if len(sizes) != len(starts) or not rising or not starts or starts[0] != 0:
            raise SagaError(
                f'ProgressiveCropHook: sizes={list(sizes)} and starts={list(starts)} must be of one length, and starts '
                'must rise from 0 and stay below 1'
            )
        self.sizes, self.starts = list(sizes), list(starts)

    def size_at(self, iteration: int, max_iters: int) -> int:
        """The size of crops at an iteration, counted from 0."""
        return self.sizes[sum(iteration >= start * max_iters for start in self.starts) - 1]

    def before_train_iter(self, runner: Any, batch_idx: int, data_batch: dict[str, Any] | None = None) -> None:
        size = self.size_at(runner.iter, runner.max_iters)
        images, samples = data_batch['inputs'], data_batch['data_samples']
        data_batch['inputs'] = [_cut(image, sample, size) for image, sample in zip(images, samples, strict=True)]


def _cut(image: torch.Tensor, sample: Any, size: int) -> torch.Tensor:
    """A random square of an image ``(3, H, W)``; the sample's ground truth is cut in place."""
    top, left = (int(torch.randint(max(1, side - size + 1), ())) for side in image.shape[1:])
    window = (slice(None), slice(top, top + size), slice(left, left + size))
    sample.gt_img = sample.gt_img[window]
    return image[window]
