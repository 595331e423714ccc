"""Maps of a detector in bands: backbone and neck are divided, heads see whole maps."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import nn

from saga_mm.models.backbones.pyramid_backbone import PyramidBackbone
from saga_mm.models.openmmlab import neck_rows
from saga_mm.models.openmmlab.necks import fpn_levels
from saga_mm.models.openmmlab.segmentor import Planner
from saga_mm.rows import MemoryRows, Part, Rows

from .band_runner import BandRunner, BandTrainer
from .mesh import Mesh
from .padded_pictures import Size, padded_maps


def detector_losses(
    model: nn.Module, images: torch.Tensor, samples: Sequence[Any], trainer: BandTrainer, sizes: Sequence[Size] | None
) -> dict[str, Any]:
    """What ``model.loss`` gives, with this process's part of the gradients; arguments as of :func:`detector_maps`.

    Args:
        model: The detector.
        images: The images.
        samples: Their data samples, the same on all processes of the bands.
        trainer: How the images are divided.
        sizes: Rows and columns of the picture in each image; None where they fill it.
    """
    maps = padded_maps(model, images, sizes, trainer, lambda *batch: detector_maps(model, *batch))
    maps = detector_maps(model, images, trainer) if maps is None else maps
    # heads take what they find there
    model.extract_feat = lambda images: maps
    try:
        losses = model.loss(images, samples)
    finally:
        del model.extract_feat
    return {
        name: [in_part(each, trainer.bands.mesh) for each in loss]
        if isinstance(loss, list | tuple)
        else in_part(loss, trainer.bands.mesh)
        for name, loss in losses.items()
    }


def in_part(loss: torch.Tensor, mesh: Mesh) -> torch.Tensor:
    """A loss that every process computes of whole maps, with this process's part of its gradient."""
    part = loss / mesh.bands
    return part + (loss - part).detach()


def detector_parts(model: nn.Module, batch: int, height: int, width: int) -> list[Part]:
    """What :func:`detector_maps` runs of the backbone, as of :func:`saga_mm.models.openmmlab.segmentor_parts`.

    Raises:
        ValueError: The backbone does not run in strips.
    """
    if not isinstance(model.backbone, PyramidBackbone):
        raise ValueError(f'the backbone {type(model.backbone).__name__} does not run in strips; those of saga_mm do')
    planner = Planner()
    model.backbone.forward_rows(Rows(batch, height, width), planner)
    return planner.parts


def detector_maps(model: nn.Module, images: torch.Tensor, runner: BandRunner) -> tuple[torch.Tensor, ...]:
    """What ``model.extract_feat`` gives, on every process.

    Each process then computes all of the heads' losses, divides them by the number of bands, and gradients of the
    bands add up to those of one process. Samplers draw alike where processes have the same seed.

    Args:
        model: A detector of mmdet's with a backbone of saga_mm's.
        images: ``(B, 3, H, W)`` as the model takes them, whole, the same on all processes of the bands.
        runner: How the images are divided; a :class:`BandTrainer` for gradients.
    """
    maps = model.backbone.forward_rows(MemoryRows(images.permute(0, 2, 3, 1)), runner)
    neck = getattr(model, 'neck', None)
    if neck is None:
        return tuple(runner.gather(rows) for rows in maps)
    if type(neck).__name__ not in ('FPN', 'SAGAFPN'):
        return tuple(runner.gather(rows) for rows in neck_rows(neck, maps, runner))
    if getattr(neck, 'add_extra_convs', False) or getattr(neck, 'extra_source', False):
        return tuple(neck([runner.gather(rows) for rows in maps]))
    outs = [runner.gather(rows) for rows in fpn_levels(neck, maps, runner)]
    while len(outs) < neck.num_outs:
        outs.append(F.max_pool2d(outs[-1], 1, stride=2))
    return tuple(outs)
