"""The data sets of the comparison, whole in memory, and their crops as operations on batches."""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from saga_mm.errors import SagaError
from saga_mm.images.pictures import read_picture

MEAN, STD = (123.675, 116.28, 103.53), (58.395, 57.12, 57.375)


@dataclass
class Pictures:
    """Pictures of one size, uint8 RGB ``(N, 3, H, W)``, and their answers: labels ``(N,)``, or maps ``(N, H, W)``."""

    images: Tensor
    targets: Tensor

    def __len__(self) -> int:
        return len(self.images)


def read_images(paths: list[Path]) -> Tensor:
    return torch.stack([torch.from_numpy(np.ascontiguousarray(read_picture(path))).permute(2, 0, 1) for path in paths])


def read_classes(root: Path, split: str) -> Pictures:
    """Pictures of a folder with one folder for each class."""
    folders = sorted(path for path in (root / split).glob('*') if path.is_dir())
    if not folders:
        raise SagaError(f'{root / split}: has no folder for each class')
    files = [(path, label) for label, folder in enumerate(folders) for path in sorted(folder.glob('*.jpg'))]
    return Pictures(read_images([path for path, _ in files]), torch.tensor([label for _, label in files]))


def normalise(images: Tensor) -> Tensor:
    """Float images of uint8 or float ones in [0, 255]."""
    mean, std = (torch.tensor(values).view(3, 1, 1) for values in (MEAN, STD))
    return (images.float() - mean) / std


def random_boxes(
    count: int, scale: tuple[float, float], ratio: float, aspect: float, draws: np.random.Generator
) -> Tensor:
    """Boxes to cut out, as affine maps ``(count, 2, 3)`` for ``affine_grid``; every other one is mirrored.

    Args:
        count: How many.
        scale: Range of a box's share of the picture's area.
        ratio: Largest change of the shape, drawn evenly in its logarithm between ``1 / ratio`` and ``ratio``.
        aspect: Width by height of the crop divided by that of the picture.
        draws: Where the numbers come from.
    """
    area = draws.uniform(*scale, count)
    shape = np.exp(draws.uniform(-math.log(ratio), math.log(ratio), count)) * aspect
    width, height = (np.minimum(np.sqrt(area * side), 1) for side in (shape, 1 / shape))
    x, y = ((1 - side) * draws.uniform(-1, 1, count) for side in (width, height))
    maps = np.zeros((count, 2, 3))
    maps[:, 0, 0], maps[:, 0, 2], maps[:, 1, 1], maps[:, 1, 2] = width, x, height, y
    maps[draws.random(count) < 0.5, 0, 0] *= -1
    return torch.from_numpy(maps).float()


def cut(images: Tensor, boxes: Tensor, size: tuple[int, int], mode: str = 'bilinear') -> Tensor:
    """The boxes of float images, ``(N, C, *size)``."""
    grid = F.affine_grid(boxes, [len(images), images.shape[1], *size], align_corners=False)
    return F.grid_sample(images, grid, mode, 'reflection', align_corners=False)


def shrink(images: Tensor, size: tuple[int, int]) -> Tensor:
    """Whole uint8 pictures at another size, as float images."""
    parts = images.split(256)
    return torch.cat([F.interpolate(part.float(), size, mode='bilinear', antialias=True) for part in parts])
