"""Losses between an enhanced image and its ground truth. A model trains their weighted sum."""

from __future__ import annotations

import torch
from torch import nn

from saga_mm.errors import SagaError
from saga_mm.ops.precision import full_precision, wide
from saga_mm.registry import MODELS

__all__ = ['CharbonnierLoss', 'ImageLoss', 'SSIMLoss']

SSIM_WINDOW = 11


class ImageLoss(nn.Module):
    """What the losses share: a weight, and arithmetic in at least float32, under autocast too.

    Called with two batches of images, ``(B, 3, H, W)`` in about [0, 1] and of any size; the result is one number.

    Args:
        loss_weight: What the loss is multiplied by.

    Attributes:
        pointwise: Whether it is a mean over pixels, each by itself.
    """

    pointwise = False

    def __init__(self, loss_weight: float = 1.0) -> None:
        super().__init__()
        self.loss_weight = loss_weight

    def forward(self, pred: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
        """The weighted loss, a scalar.

        Raises:
            ValueError: If the shapes differ; they would broadcast to a wrong figure.
        """
        if pred.shape != target.shape:
            raise ValueError(f'{type(self).__name__}: shapes differ, {tuple(pred.shape)} and {tuple(target.shape)}')
        with full_precision(pred.device.type):
            return self.loss_weight * self.measure(wide(pred), wide(target))

    def measure(self, pred: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
        """The loss without its weight, of images in at least float32."""
        raise NotImplementedError

    def extra_repr(self) -> str:
        return f'loss_weight={self.loss_weight}'


@MODELS.register_module()
class CharbonnierLoss(ImageLoss):
    """Mean of ``sqrt(difference^2 + eps^2)``: absolute difference, round where it is small.

    Args:
        loss_weight: What the loss is multiplied by.
        eps: Differences well below this count as their square; in units of the images.
    """

    pointwise = True

    def __init__(self, loss_weight: float = 1.0, eps: float = 1e-3) -> None:
        super().__init__(loss_weight)
        self.eps = eps

    def measure(self, pred: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
        return ((pred - target).square() + self.eps**2).sqrt().mean()


@MODELS.register_module()
class SSIMLoss(ImageLoss):
    """One minus the structural similarity, in a Gaussian window of 11 pixels and sigma 1.5, of each colour by itself.

    The library pytorch-msssim computes it. In images less than 11 pixels high or wide the window is the largest odd
    one that fits.

    Raises:
        SagaError: If the library is not installed; where the loss is built.
        ValueError: If an image is less than two pixels high or wide.
    """

    def __init__(self, loss_weight: float = 1.0) -> None:
        super().__init__(loss_weight)
        try:
            from pytorch_msssim import ssim
        except ImportError as error:
            message = 'saga_mm.SSIMLoss needs the library pytorch-msssim: pip install pytorch-msssim'
            raise SagaError(message) from error
        self._ssim = ssim

    def measure(self, pred: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
        side = min(pred.shape[2:])
        if side < 2:
            raise ValueError(f'SSIMLoss: images of {pred.shape[2]}x{pred.shape[3]} pixels have no structure to compare')
        # a larger window would be left out by the library, with a warning, and variances would be wrong
        window = min(SSIM_WINDOW, side - 1 + side % 2)
        return 1 - self._ssim(pred, target, data_range=1.0, win_size=window)
