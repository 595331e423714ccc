"""NIQE: image quality without a ground truth.

Mittal, Soundararajan and Bovik, 'Making a "Completely Blind" Image Quality Analyzer', IEEE Signal Processing Letters
20(3), 2013. Statistics of an image's blocks are compared with those of good photographs. The latter come from a file
that the user names, or fits with :func:`fit_niqe_folder` from photographs of his own.
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
import torch.nn.functional as F

from saga_mm.archives import read_arrays
from saga_mm.errors import SagaError
from saga_mm.evaluation.quality import Image, gaussian_window, luma, smooth
from saga_mm.files import write_file
from saga_mm.images.picture_folders import find_images
from saga_mm.images.pictures import read_picture

BLOCK = 96
FEATURES = 36
# the paper's share of the sharpest block's sharpness that a block of a good photograph must exceed
SHARP = 0.75
WINDOW = gaussian_window(7, 7 / 6)
# neighbours whose products are looked at: right, below, and the two diagonals
SHIFTS = ((0, 1), (1, 0), (1, 1), (1, -1))
# values below this are rounding errors: an integer that differs by one, in a corner of the window, makes 1e-4
FLAT = 1e-6
SHAPES = torch.arange(200, 10001, dtype=torch.float64) / 1000


class NaturalModel(NamedTuple):
    """Distribution of the features of good photographs.

    Args:
        mean: ``(36,)``, float64.
        covariance: ``(36, 36)``, float64.
    """

    mean: torch.Tensor
    covariance: torch.Tensor


def load_niqe(path: str | Path) -> NaturalModel:
    """Read a model of good photographs: an ``.npz`` with ``mu_pris_param`` and ``cov_pris_param``.

    That is what :func:`save_niqe` writes, and BasicSR's and mmagic's ``niqe_pris_params.npz``. Nothing is unpickled.

    Raises:
        SagaError: If the file cannot be read, or holds something else.
    """
    try:
        arrays = read_arrays(path)
    except Exception as error:  # damaged files raise almost anything
        raise SagaError(f'{path}: cannot be read as an .npz of NIQE parameters ({error})') from error
    if not {'mu_pris_param', 'cov_pris_param'} <= arrays.keys():
        raise SagaError(f'{path}: has no mu_pris_param and cov_pris_param; fit one with fit_niqe_folder')
    try:
        mean, covariance = (arrays[f'{key}_pris_param'].astype(np.float64) for key in ('mu', 'cov'))
    except (ValueError, TypeError) as error:
        raise SagaError(f'{path}: cannot be read as an .npz of NIQE parameters ({error})') from error
    if mean.size != FEATURES or covariance.shape != (FEATURES, FEATURES):
        raise SagaError(f'{path}: mean {mean.shape} and covariance {covariance.shape} are not of {FEATURES} features')
    if not (np.isfinite(mean).all() and np.isfinite(covariance).all()):
        raise SagaError(f'{path}: holds values that are not finite')
    return NaturalModel(torch.from_numpy(mean.reshape(FEATURES)), torch.from_numpy(covariance))


def save_niqe(model: NaturalModel, path: str | Path) -> None:
    """Write a model for :func:`load_niqe`."""
    mean, covariance = model.mean.numpy()[None], model.covariance.numpy()
    write_file(path, lambda file: np.savez(file, mu_pris_param=mean, cov_pris_param=covariance))


def niqe(image: Image, model: NaturalModel) -> float:
    """NIQE of an image, the lower the better; figures of different models do not compare.

    Luma is rounded to integers first. What is left over beside blocks of 96x96 pixels, right and below, is not seen.

    Args:
        image: As in :mod:`saga_mm.evaluation.quality`.
        model: Distribution of good photographs.

    Raises:
        ValueError: If fewer than two blocks fit, or the image is flat.
    """
    features = block_features(image)[0].cpu()
    complete = features[features.isfinite().all(dim=1)]
    if len(complete) < 2:
        raise ValueError(f'NIQE needs two blocks of {BLOCK}x{BLOCK} pixels that are not flat; here are {len(complete)}')
    off = model.mean - features.nanmean(dim=0)
    pooled = (model.covariance + complete.T.cov()) / 2
    return (off @ torch.linalg.pinv(pooled, hermitian=True) @ off).clamp(min=0).sqrt().item()


def fit_niqe(images: Iterable[Image]) -> NaturalModel:
    """Distribution of the features of good photographs, from the sharp blocks of each.

    Args:
        images: Photographs, sharp, without noise and well exposed; some dozens give a steady model.

    Raises:
        ValueError: If there are no more sharp blocks than features, so that the covariance would be singular.
    """
    kept = [torch.empty(0, FEATURES, dtype=torch.float64)]
    for image in images:
        features, sharpness = block_features(image)
        chosen = features[sharpness > SHARP * sharpness.amax()] if len(features) else features
        kept.append(chosen[chosen.isfinite().all(dim=1)].cpu())
    features = torch.cat(kept)
    if len(features) <= FEATURES:
        raise ValueError(
            f'only {len(features)} sharp blocks of {BLOCK}x{BLOCK} pixels; more than {FEATURES} are needed'
        )
    return NaturalModel(features.mean(dim=0), features.T.cov())


def fit_niqe_folder(folder: str | Path, out: str | Path) -> NaturalModel:
    """Fit a model to the photographs of a folder, and of the folders in it, and write it.

    Args:
        folder: Good photographs, in files of any kind.
        out: The ``.npz`` file to write.

    Raises:
        SagaError: If there are no photographs or too few, one cannot be read, or the file cannot be written.
    """
    if Path(out).suffix != '.npz':
        raise SagaError(f'{out}: NIQE parameters are written to a file that ends in .npz')
    try:
        model = fit_niqe(read_picture(path) for path in find_images(folder))
    except ValueError as error:
        raise SagaError(f'{folder}: {error}; add photographs') from error
    try:
        save_niqe(model, out)
    except OSError as error:
        raise SagaError(f'{out}: cannot be written ({error.strerror})') from error
    return model


def block_features(image: Image) -> tuple[torch.Tensor, torch.Tensor]:
    """Features of an image's blocks, ``(blocks, 36)``, 18 at each of two scales; and their sharpness, ``(blocks,)``.

    Sharpness is the mean of the local deviation. Features of a block without texture are NaN.
    """
    values = (luma(image) * 255).round()
    values = values[:, : values.shape[1] // BLOCK * BLOCK, : values.shape[2] // BLOCK * BLOCK]
    if values.numel() == 0:
        return values.new_empty(0, FEATURES), values.new_empty(0)
    normalized, deviation = _normalize(values)
    sharpness = _blocks(deviation, BLOCK).mean(dim=(1, 2))
    fine = _statistics(_blocks(normalized, BLOCK))
    half = F.interpolate(values[None], scale_factor=0.5, mode='bicubic', antialias=True)[0]
    coarse = _statistics(_blocks(_normalize(half)[0], BLOCK // 2))
    return torch.cat([fine, coarse], dim=1), sharpness


def fit_aggd(samples: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Shape, left and right scale of asymmetric generalised Gaussians, each fitted to a row of ``(n, samples)``.

    The paper's reference: Lasmar, Stitou and Berthoumieu, 'Multiscale skewed heavy tailed model for texture analysis',
    2009. Moments are matched, and the shape is the nearest on a grid from 0.2 to 10.
    """
    left, right = (_root_mean_square(samples, sign * samples > 0) for sign in (-1, 1))
    skew = left / right
    ratio = samples.abs().mean(dim=1) ** 2 / samples.square().mean(dim=1)
    ratio = ratio * (skew**3 + 1) * (skew + 1) / (skew**2 + 1) ** 2
    shapes = SHAPES.to(samples.device)
    wanted = torch.exp(2 * torch.lgamma(2 / shapes) - torch.lgamma(1 / shapes) - torch.lgamma(3 / shapes))
    above = torch.searchsorted(wanted, ratio).clamp(1, len(wanted) - 1)
    nearest = above - (ratio - wanted[above - 1] < wanted[above] - ratio).long()
    shape = shapes[nearest].where(ratio.isfinite(), torch.nan)
    unit = torch.exp((torch.lgamma(1 / shape) - torch.lgamma(3 / shape)) / 2)
    return shape, left * unit, right * unit


def _normalize(values: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Mean-subtracted, contrast-normalised values (the paper's equation 1), and the local deviation."""
    reach = len(WINDOW) // 2
    padded = F.pad(values, (reach,) * 4, mode='replicate')
    mean = smooth(padded, WINDOW)
    deviation = (smooth(padded.square(), WINDOW) - mean.square()).abs().sqrt()
    # where the image is flat, rounding errors would have signs, and be counted
    normalized = F.hardshrink((values - mean) / (deviation + 1), FLAT)
    return normalized, deviation


def _blocks(values: torch.Tensor, side: int) -> torch.Tensor:
    tiles = values[0].unflatten(0, (-1, side)).unflatten(2, (-1, side))
    return tiles.transpose(1, 2).flatten(0, 1)


def _statistics(blocks: torch.Tensor) -> torch.Tensor:
    """The 18 features of each block: two of its values, four of the products with each of four neighbours."""
    shape, left, right = fit_aggd(blocks.flatten(1))
    features = [shape, (left + right) / 2]
    for shift in SHIFTS:
        shape, left, right = fit_aggd((blocks * blocks.roll(shift, dims=(1, 2))).flatten(1))
        mean = (right - left) * torch.exp(torch.lgamma(2 / shape) - torch.lgamma(1 / shape))
        features += [shape, mean, left, right]
    return torch.stack(features, dim=1)


def _root_mean_square(samples: torch.Tensor, chosen: torch.Tensor) -> torch.Tensor:
    return ((samples * chosen).square().sum(dim=1) / chosen.sum(dim=1)).sqrt()
