"""Losses of an enhancer whose images are divided into bands."""

from __future__ import annotations

import torch

from saga_mm.models.enhancement import LowLightEnhancer
from saga_mm.models.enhancement.enhancer import BRIGHTNESS_WEIGHT, loss_names
from saga_mm.models.enhancement.enhancer_rows import CroppedRows, answer_rows
from saga_mm.models.enhancement.exposure import luminance
from saga_mm.rows import MemoryRows

from .band_runner import BandTrainer, gather_map
from .segmentor_losses import counted_once


def enhancer_losses(
    model: LowLightEnhancer, images: torch.Tensor, targets: torch.Tensor, trainer: BandTrainer
) -> dict[str, torch.Tensor]:
    """What ``model.loss`` gives, each counted once over all bands; see :func:`segmentor_losses`.

    Losses of each pixel by itself are computed in bands. Others (SSIM) are computed on the whole image by each.

    Args:
        model: The model.
        images: ``(B, 3, H, W)`` in [0, 1], whole, the same on all processes of the bands.
        targets: What they should become, alike.
        trainer: How the images, padded to multiples of ``model.pad_divisor``, are divided.

    Raises:
        ValueError: A part of the model does not run in strips.
    """
    bands = trainer.bands
    rows, wanted, brightness = MemoryRows(images.permute(0, 2, 3, 1)), None, {}
    if model.exposure is not None:
        wanted = luminance(targets)
        error = (model.exposure.predict(trainer.state(model.exposure, rows)) - wanted).abs().mean()
        brightness['loss_brightness'] = counted_once(BRIGHTNESS_WEIGHT * error / bands.mesh.bands, trainer)
    answer = CroppedRows(answer_rows(model, rows, trainer, wanted), rows)
    pointwise = all(loss.pointwise for loss in model.losses)
    if pointwise:
        trainer.prepare(answer)
        start, stop = bands.own(answer.height)
        predicted, target = answer.plane(start, stop), targets[:, :, start:stop]
        share = (stop - start) / answer.height
    else:
        # each process computes the whole loss, of which this is its part
        predicted, target, share = gather_map(answer, trainer), targets, 1 / bands.mesh.bands
    losses = zip(loss_names(model.losses), model.losses)
    return {**brightness, **{name: counted_once(share * loss(predicted, target), trainer) for name, loss in losses}}
