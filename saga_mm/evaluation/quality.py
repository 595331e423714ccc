"""PSNR, SSIM and MAE between an image and its ground truth, on colours or on luma.

Images are numpy arrays, ``(H, W)`` or ``(H, W, 3)``, or tensors, ``(H, W)`` or ``(C, H, W)``; colours are RGB. Values
are uint8, or floats in [0, 1]. Nothing is rounded or clipped unless :func:`quantize` is called, and everything is
computed in float64.
"""

from __future__ import annotations

import math

import numpy as np
import torch

Image = np.ndarray | torch.Tensor

SSIM_WINDOW, SSIM_SIGMA = 11, 1.5
# (0.01 L)^2 and (0.03 L)^2 of Wang et al. (2004), for a range L of 1
SSIM_C1, SSIM_C2 = 1e-4, 9e-4
# rows that are filtered at once, few enough to stay in a processor's cache: several times as fast as all of them
SSIM_ROWS = 32


def planes(image: Image) -> torch.Tensor:
    """An image as ``(C, H, W)``, float64, in [0, 1].

    Raises:
        ValueError: If it has another shape.
        TypeError: If its values are integers other than uint8.
    """
    if not isinstance(image, torch.Tensor):
        image = torch.from_numpy(np.ascontiguousarray(image))
        image = image.permute(2, 0, 1) if image.ndim == 3 else image
    if image.ndim not in (2, 3) or (image.ndim == 3 and len(image) not in (1, 3)):
        raise ValueError(f'an image is grey or has three colours, this has the shape {tuple(image.shape)}')
    if not image.is_floating_point() and image.dtype != torch.uint8:
        raise TypeError(f'values of an image are uint8, or floats in [0, 1], not {image.dtype}')
    values = image.double() / 255 if image.dtype == torch.uint8 else image.double()
    return values[None] if values.ndim == 2 else values


def quantize(image: Image) -> torch.Tensor:
    """The image as a file of 8 bits would keep it: ``(C, H, W)``, clipped, and rounded to multiples of 1 / 255."""
    return (planes(image).clamp(0, 1) * 255).round() / 255


def luma(image: Image) -> torch.Tensor:
    """Y of YCbCr, ``(1, H, W)``, as BT.601 codes it for video: from 16 / 255 (black) to 235 / 255 (white).

    This is MATLAB's ``rgb2ycbcr``, on which restoration papers report "Y". It is not rounded. Grey images are taken
    for grey colours.
    """
    values = planes(image)
    red, green, blue = values if len(values) == 3 else values.expand(3, -1, -1)
    return (16 + 65.481 * red + 128.553 * green + 24.966 * blue)[None] / 255


def gt_mean(pred: Image, target: Image) -> torch.Tensor:
    """The prediction, scaled to the ground truth's mean grey value and clipped: ``(C, H, W)``.

    Scores of this image use the answer, and are higher by decibels: they are to be named so wherever they stand. As in
    published code, it is not rounded again. A black image stays black.
    """
    pred, target = _pair(pred, target)
    mean = _mean_grey(pred)
    return (pred * (_mean_grey(target) / mean)).clamp(0, 1) if mean > 0 else pred


def mae(pred: Image, target: Image) -> float:
    """Mean absolute error, in [0, 1]."""
    pred, target = _pair(pred, target)
    return (pred - target).abs().mean().item()


def psnr(pred: Image, target: Image) -> float:
    """Peak signal-to-noise ratio in decibels, from the mean squared error over all colours; infinite if equal."""
    pred, target = _pair(pred, target)
    error = (pred - target).square().mean().item()
    return -10 * math.log10(error) if error != 0 else math.inf


def ssim(pred: Image, target: Image) -> float:
    """Structural similarity (Wang et al., 2004), the mean of the colours.

    The window is Gaussian, of 11 pixels and sigma 1.5; variances are those of the population; the mean is over the
    pixels whose window lies inside the image. So does scikit-image with ``gaussian_weights=True, sigma=1.5,
    use_sample_covariance=False, channel_axis=-1, data_range=1``, and so do the usual codes of low-light papers.

    Raises:
        ValueError: If the image is smaller than the window.
    """
    pred, target = _pair(pred, target)
    height, width = pred.shape[1:]
    if min(height, width) < SSIM_WINDOW:
        raise ValueError(f'SSIM needs images of at least {SSIM_WINDOW}x{SSIM_WINDOW} pixels, not {height}x{width}')
    window = gaussian_window(SSIM_WINDOW, SSIM_SIGMA)
    inner = height - SSIM_WINDOW + 1
    total = 0.0
    for start in range(0, inner, SSIM_ROWS):
        rows = slice(start, min(start + SSIM_ROWS, inner) + SSIM_WINDOW - 1)
        total += _ssim_map(pred[:, rows], target[:, rows], window).sum().item()
    return total / (len(pred) * inner * (width - SSIM_WINDOW + 1))


def gaussian_window(size: int, sigma: float) -> list[float]:
    """Weights of a Gaussian at ``size`` neighbouring pixels, which sum to one."""
    weights = [math.exp(-((i - (size - 1) / 2) ** 2) / (2 * sigma**2)) for i in range(size)]
    return [weight / sum(weights) for weight in weights]


def smooth(maps: torch.Tensor, window: list[float]) -> torch.Tensor:
    """Weighted means of ``(..., H, W)`` in a separable window, where all of it lies inside the map."""
    for dim in (-2, -1):
        # several times as fast as a convolution is in float64
        count = maps.shape[dim] - len(window) + 1
        means = maps.narrow(dim, 0, count) * window[0]
        for i, weight in enumerate(window[1:], 1):
            means.add_(maps.narrow(dim, i, count), alpha=weight)
        maps = means
    return maps


def _ssim_map(pred: torch.Tensor, target: torch.Tensor, window: list[float]) -> torch.Tensor:
    maps = torch.stack([pred, target, pred * pred, target * target, pred * target])
    mean_p, mean_t, mean_pp, mean_tt, mean_pt = smooth(maps, window)
    variances = mean_pp - mean_p**2 + mean_tt - mean_t**2
    contrast = (2 * (mean_pt - mean_p * mean_t) + SSIM_C2) / (variances + SSIM_C2)
    return contrast * (2 * mean_p * mean_t + SSIM_C1) / (mean_p**2 + mean_t**2 + SSIM_C1)


def _mean_grey(image: torch.Tensor) -> torch.Tensor:
    weights = image.new_tensor([0.299, 0.587, 0.114] if len(image) == 3 else [1.0])
    return image.mean(dim=(1, 2)) @ weights


def _pair(pred: Image, target: Image) -> tuple[torch.Tensor, torch.Tensor]:
    pred, target = planes(pred), planes(target)
    if pred.shape != target.shape:
        shapes = ' and '.join('x'.join(map(str, image.shape)) for image in (pred, target))
        raise ValueError(f'the two images differ in size (channels x height x width): {shapes}')
    return pred, target.to(pred.device)
