"""Mixup and CutMix: mix the images of a batch and their targets."""

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from saga_mm.registry import MODELS


@MODELS.register_module()
class Mixup:
    """Blend each image with another of the batch (Zhang et al., ICLR 2018).

    Args:
        alpha: Both parameters of the beta distribution that the share of the first image is drawn from.
    """

    def __init__(self, alpha: float = 0.8) -> None:
        if alpha <= 0:
            raise ValueError(f'alpha={alpha} must be above 0')
        self.alpha = alpha

    def __call__(self, images: Tensor, targets: Tensor) -> tuple[Tensor, Tensor]:
        """Mixed images ``(B, C, H, W)`` and their targets, probabilities ``(B, classes)``."""
        share, order = np.random.beta(self.alpha, self.alpha), torch.randperm(len(images), device=images.device)
        return share * images + (1 - share) * images[order], share * targets + (1 - share) * targets[order]


@MODELS.register_module()
class CutMix(Mixup):
    """Replace a rectangle of each image by that of another of the batch (Yun et al., ICCV 2019).

    Args:
        alpha: Both parameters of the beta distribution that the area outside of the rectangle is drawn from.
    """

    def __init__(self, alpha: float = 1.0) -> None:
        super().__init__(alpha)

    def __call__(self, images: Tensor, targets: Tensor) -> tuple[Tensor, Tensor]:
        height, width = images.shape[2:]
        # the same part of both sides: the rectangle has the drawn area and the shape of the image
        side = (1 - np.random.beta(self.alpha, self.alpha)) ** 0.5
        spans = []
        for size in (height, width):
            centre, half = np.random.randint(size), int(size * side) // 2
            spans.append(slice(max(centre - half, 0), min(centre + half, size)))
        rows, columns = spans
        order = torch.randperm(len(images), device=images.device)
        mixed = images.clone()
        mixed[:, :, rows, columns] = images[order, :, rows, columns]
        # the rectangle may reach over the edge: its share is that of the pixels it replaced
        share = 1 - (rows.stop - rows.start) * (columns.stop - columns.start) / (height * width)
        return mixed, share * targets + (1 - share) * targets[order]


def mix_batch(mixers: Sequence[Mixup], images: Tensor, targets: Tensor) -> tuple[Tensor, Tensor]:
    """Images and targets after one of ``mixers``, drawn evenly; as they are if there is none."""
    return mixers[np.random.randint(len(mixers))](images, targets) if mixers else (images, targets)
