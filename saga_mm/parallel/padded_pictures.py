"""Pictures that do not fill their batch: those of each size are divided into bands by themselves."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import nn

from saga_mm.errors import SagaError
from saga_mm.models.padding import by_size, picture_sizes, reads_padding
from saga_mm.models.stack_padding import runs_by_size

from .band_runner import BandTrainer
from .bands import Bands
from .mesh import Mesh

Size = tuple[int, int]


def padded_maps(
    model: nn.Module,
    images: torch.Tensor,
    sizes: Sequence[Size] | None,
    trainer: BandTrainer,
    extract: Callable[[torch.Tensor, BandTrainer], Sequence[torch.Tensor]],
) -> tuple[torch.Tensor, ...] | None:
    """Whole maps ``(B, C, H, W)`` of padded pictures on every process, zero beside a picture, as in ordinary training.

    Args:
        model: The model of mmdet's or mmseg's.
        images: The padded batch.
        sizes: Rows and columns of each picture; None where they fill the batch.
        trainer: How the batch is divided. A picture with too few rows for that is computed whole on each process.
        extract: From pictures of one size, and how they are divided, to whole maps.

    Returns:
        The maps. None where padding makes no difference, and the batch can be divided as it is.

    Raises:
        SagaError: The model cannot run the pictures of each size by themselves.
    """
    found = None if sizes is None else picture_sizes(images, sizes)
    if found is None or not reads_padding(model):
        return None

    def run(pictures: list[torch.Tensor]) -> Sequence[torch.Tensor]:
        return extract(pictures[0], _divided(trainer.bands, pictures[0].shape[2]))

    maps = by_size(run, [images], [found]) if runs_by_size(model) else None
    if maps is None:
        raise SagaError(
            f'--bands: pictures of other sizes than their batch, {sizes[0][0]} x {sizes[0][1]} in {images.shape[2]} x '
            f'{images.shape[3]}, do not train in bands with this backbone and neck; crop all to one size in the '
            'pipeline, or train with --batch-size 1 without padding'
        )
    return maps


def _divided(bands: Bands, height: int) -> BandTrainer:
    if -(-height // bands.unit) < bands.mesh.bands:
        return BandTrainer(Bands(Mesh(), height, bands.unit))
    return BandTrainer(Bands(bands.mesh, height, bands.unit))
