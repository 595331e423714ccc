"""Norms with statistics of a whole map or batch as steps over rows: moments are written, merged, read."""

import weakref
from collections.abc import Sequence
from typing import Any, NamedTuple

import torch
from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm

from saga_mm.ops import Grid, wide
from saga_mm.rows import RowStep, crop_rows


class Moments(NamedTuple):
    """Of the values of each group: their number, mean and variance, ``(B, groups)``."""

    count: int
    mean: torch.Tensor
    variance: torch.Tensor


class GroupNormStep(RowStep):
    """Group norm of a whole map, and the activation behind it: moments are written, merged and read.

    Args:
        norm: The layer.
        activate: What follows it, or None.
    """

    sweeps = 1

    def __init__(self, norm: nn.GroupNorm, activate: nn.Module | None = None) -> None:
        self.norm, self.activate = norm, activate
        # 4 in float32; of half precision, values are widened beside the map
        self.peak_floats_per_token = 5 * norm.num_channels
        self._step_modules = [norm] if activate is None else [norm, activate]

    @property
    def step_modules(self) -> Sequence[nn.Module]:
        return self._step_modules

    def write(self, x: torch.Tensor, grid: Grid, state: Any = None) -> Moments:
        groups = wide(x).unflatten(-1, (self.norm.num_groups, -1))
        variance, mean = torch.var_mean(groups, dim=(1, 3), correction=0)
        return Moments(groups.shape[1] * groups.shape[3], mean, variance)

    def merge(self, states: Sequence[Moments]) -> Moments:
        return merge_moments(states)

    def read(self, x: torch.Tensor, grid: Grid, state: Moments, keep: Grid) -> torch.Tensor:
        x, size = crop_rows(x, grid, keep), self.norm.num_channels // self.norm.num_groups
        mean, variance = (part.repeat_interleave(size, 1)[:, None] for part in state[1:])
        out = _normed(x, mean, variance, self.norm)
        return out if self.activate is None else self.activate(out)


class BatchNormStep(RowStep):
    """Batch norm in training, and the activation behind it: statistics are those of all rows of all images.

    Running statistics are moved once for each state that is read.

    Args:
        norm: The layer.
        activate: What follows it, or None.
    """

    sweeps = 1

    def __init__(self, norm: _BatchNorm, activate: nn.Module | None = None) -> None:
        self.norm, self.activate = norm, activate
        self.peak_floats_per_token = 5 * norm.num_features
        self._step_modules = [norm] if activate is None else [norm, activate]
        self._counted: weakref.ref | None = None
        # of the images on other devices as well
        self.over_batch = isinstance(norm, nn.SyncBatchNorm)

    @property
    def step_modules(self) -> Sequence[nn.Module]:
        return self._step_modules

    def write(self, x: torch.Tensor, grid: Grid, state: Any = None) -> Moments:
        variance, mean = torch.var_mean(wide(x), dim=(0, 1), correction=0)
        return Moments(x.shape[0] * x.shape[1], mean, variance)

    def merge(self, states: Sequence[Moments]) -> Moments:
        return merge_moments(states)

    def read(self, x: torch.Tensor, grid: Grid, state: Moments, keep: Grid) -> torch.Tensor:
        x = crop_rows(x, grid, keep)
        self._move(state)
        out = _normed(x, state.mean, state.variance, self.norm)
        return out if self.activate is None else self.activate(out)

    @torch.no_grad()
    def _move(self, state: Moments) -> None:
        norm = self.norm
        if norm.running_mean is None or (self._counted is not None and self._counted() is state.mean):
            return
        # strips read one state many times; a weak reference, since the state is to be freed behind its last strip
        self._counted = weakref.ref(state.mean)
        norm.num_batches_tracked += 1
        factor = 1 / float(norm.num_batches_tracked) if norm.momentum is None else norm.momentum
        unbiased = state.variance * (state.count / (state.count - 1))
        norm.running_mean.lerp_(state.mean.to(norm.running_mean.dtype), factor)
        norm.running_var.lerp_(unbiased.to(norm.running_var.dtype), factor)


def _normed(
    x: torch.Tensor, mean: torch.Tensor, variance: torch.Tensor, norm: nn.GroupNorm | _BatchNorm
) -> torch.Tensor:
    """Tokens less their mean by their deviation, times weight plus bias, in one pass: moments as of each channel."""
    scale = (variance + norm.eps).rsqrt()
    if norm.affine:
        scale = scale * norm.weight
    shift = -mean * scale
    if norm.affine:
        shift = shift + norm.bias
    return torch.addcmul(shift, wide(x), scale).to(x.dtype)


def merge_moments(states: Sequence[Moments]) -> Moments:
    """Moments of disjoint sets of values together."""
    count = sum(state.count for state in states)
    shares = [state.count / count for state in states]
    mean = sum(state.mean * share for state, share in zip(states, shares))
    # about each strip's own mean (Chan, Golub and LeVeque, 1983): sums of squares cancel where a mean is large
    parts = (share * (state.variance + (state.mean - mean).square()) for state, share in zip(states, shares))
    return Moments(count, mean, sum(parts))
