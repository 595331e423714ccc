"""Maps of a detector in bands: backbone and neck are divided, heads see whole maps."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import nn

from saga_mm.models.openmmlab import neck_rows
from saga_mm.models.openmmlab.necks import fpn_levels
from saga_mm.rows import MemoryRows

from .band_runner import BandRunner


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
