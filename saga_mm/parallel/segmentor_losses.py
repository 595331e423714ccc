"""Losses of a segmentor whose images are divided into bands."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import nn

from saga_mm.errors import SagaError
from saga_mm.models.openmmlab import ResizedRows, feature_rows, head_rows
from saga_mm.rows import MemoryRows, Rows

from .band_runner import BandTrainer, gather_map
from .padded_pictures import Size, padded_maps


def segmentor_losses(
    model: nn.Module,
    images: torch.Tensor,
    labels: torch.Tensor,
    trainer: BandTrainer,
    sizes: Sequence[Size] | None = None,
) -> dict[str, torch.Tensor]:
    """What ``model.loss`` gives, each loss and accuracy counted once over all bands.

    A loss has the value of the whole image and the gradient of this band's part of it: summed over the bands, gradients
    are those of one process.

    Args:
        model: An ``EncoderDecoder`` of mmseg's, with or without auxiliary heads.
        images: ``(B, 3, H, W)`` as the model takes them, whole, the same on all processes of the bands.
        labels: ``(B, H, W)`` of class indices, alike.
        trainer: How the images are divided.
        sizes: Rows and columns of the picture in each image; None where they fill it.

    Raises:
        SagaError: A head's loss is not a mean over pixels, or takes samples of them.
        ValueError: A part of the model does not run in strips.
    """

    def features(pictures: torch.Tensor, trainer: BandTrainer) -> Sequence[Rows]:
        return feature_rows(model, MemoryRows(pictures.permute(0, 2, 3, 1)), trainer)

    whole = padded_maps(
        model, images, sizes, trainer, lambda *batch: [gather_map(rows, batch[1]) for rows in features(*batch)]
    )
    maps = features(images, trainer) if whole is None else [MemoryRows(x.permute(0, 2, 3, 1)) for x in whole]
    losses = {f'decode.{name}': loss for name, loss in head_losses(model.decode_head, maps, labels, trainer).items()}
    others = getattr(model, 'auxiliary_head', None)
    listed = isinstance(others, nn.ModuleList)
    for i, head in enumerate(others if listed else [] if others is None else [others]):
        prefix = f'aux_{i}' if listed else 'aux'
        losses |= {f'{prefix}.{name}': loss for name, loss in head_losses(head, maps, labels, trainer).items()}
    return losses


def head_losses(
    head: nn.Module, maps: Sequence[Rows], labels: torch.Tensor, trainer: BandTrainer
) -> dict[str, torch.Tensor]:
    """Losses and accuracy of one head; arguments as of :func:`segmentor_losses`."""
    mesh = trainer.bands.mesh
    kinds = head.loss_decode if isinstance(head.loss_decode, nn.ModuleList) else [head.loss_decode]
    if head.sampler is not None:
        raise SagaError(f'{type(head).__name__}: sampler picks pixels of whole images; leave it out to train in bands')
    resized = ResizedRows(head_rows(head, maps, trainer), tuple(labels.shape[1:]), align_corners=head.align_corners)
    trainer.prepare(resized)
    start, stop = trainer.bands.own(resized.height)
    scores, own = resized.plane(start, stop), labels[:, start:stop]
    losses: dict[str, torch.Tensor] = {}
    for kind in kinds:
        # a mean over this band's pixels, of which there are more or fewer than in others
        share = _pixels(kind, own, head.ignore_index) / max(_pixels(kind, labels, head.ignore_index), 1)
        loss = share * kind(scores, own, ignore_index=head.ignore_index)
        losses[kind.loss_name] = losses.get(kind.loss_name, 0) + counted_once(loss, trainer)
    right = (scores.detach().argmax(1) == own) & (own != head.ignore_index)
    found = mesh.add(right.sum().double()[None], 'loss')
    losses['acc_seg'] = (100 * found / max(int((labels != head.ignore_index).sum()), 1)).to(scores.dtype)
    return losses


def counted_once(loss: torch.Tensor, trainer: BandTrainer) -> torch.Tensor:
    """A loss of all bands, with the gradient of this band's part ``loss``."""
    # gradients of all bands are summed later, so that each may have its own part alone
    own = loss.detach()
    return loss + (trainer.bands.mesh.add(own[None], 'loss')[0] - own)


def _pixels(loss: nn.Module, labels: torch.Tensor, ignored: int) -> float:
    """What the loss of these pixels is divided by.

    Raises:
        SagaError: It is no mean over pixels.
    """
    if type(loss).__name__ != 'CrossEntropyLoss' or loss.use_sigmoid or loss.use_mask or loss.reduction != 'mean':
        raise SagaError(
            f'the loss {type(loss).__name__} is no mean over pixels; in bands train with CrossEntropyLoss of a softmax'
        )
    seen = labels != ignored
    if loss.class_weight is not None:
        weights = torch.tensor(loss.class_weight, dtype=torch.float64, device=labels.device)
        return float(weights[labels[seen]].sum())
    return float(seen.sum()) if loss.avg_non_ignore else float(labels.numel())
