"""Layers of foreign necks and heads as steps over rows, and maps that join levels."""

import torch
import torch.nn.functional as F
from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm

from saga_mm.models.norm_steps import BatchNormStep, GroupNormStep
from saga_mm.models.watched import replaced_forward
from saga_mm.ops import Grid, map_to_tokens, resize_rows, resize_span, tokens_to_map
from saga_mm.rows import LocalStep, Rows, RowStep, Span


def conv_steps(module: nn.Module) -> list[RowStep]:
    """mmcv's ``ConvModule`` as steps.

    Raises:
        ValueError: If it holds a layer that rows alone cannot do.
    """
    conv, norm = module.conv, module.norm if module.with_norm else None
    activate = module.activate if module.with_activation else None
    if tuple(module.order) != ('conv', 'norm', 'act') or conv.stride != (1, 1) or conv.padding_mode != 'zeros':
        raise ValueError(f'{module} is no plain convolution of stride 1 with norm and activation')
    # a batch norm that trains has to see the whole batch
    steps, norm_inside = [], norm is None or (isinstance(norm, _BatchNorm) and not norm.training)
    if not norm_inside and not isinstance(norm, nn.GroupNorm | _BatchNorm):
        raise ValueError(f'{type(norm).__name__} does not run in strips: use BN, SyncBN or GN')
    # neither is called: the layers inside a module are, and the moments of a group norm are those of all rows
    own = isinstance(norm, nn.GroupNorm) and (type(norm) is not nn.GroupNorm or replaced_forward(norm))
    if own or replaced_forward(module):
        kind = type(norm if own else module).__name__
        raise ValueError(f'{kind} does not run in strips: it has a forward of its own, which rows do not call')
    inside = [layer for layer in (norm, activate) if layer is not None] if norm_inside else []

    def run(x: torch.Tensor, grid: Grid) -> tuple[torch.Tensor, Grid]:
        plane = conv(tokens_to_map(x, grid))
        for layer in inside:
            plane = layer(plane)
        return map_to_tokens(plane), grid

    # activations in the order that the convolution wants and those that we keep
    peak_floats_per_token = 2.0 * (conv.in_channels + conv.out_channels)
    modules = [conv, *inside]
    steps = [
        LocalStep(run, peak_floats_per_token, reach=conv.dilation[0] * (conv.kernel_size[0] - 1) // 2, modules=modules)
    ]
    if norm_inside:
        return steps
    return [*steps, (GroupNormStep if isinstance(norm, nn.GroupNorm) else BatchNormStep)(norm, activate)]


def keep_step(channels: int) -> RowStep:
    """The identity as a step. Its output keeps a joined map."""
    return LocalStep(lambda x, grid: (x, grid), 2.0 * channels)


class ResizedRows(Rows):
    """A map resized as ``F.interpolate`` does, worked out where rows are asked for.

    Args:
        rows: The map.
        size: ``(H, W)`` to resize it to.
        mode: ``'bilinear'`` or ``'nearest'``.
        align_corners: As in ``F.interpolate``, for ``'bilinear'``.

    Raises:
        ValueError: If the mode is another one.
    """

    def __init__(self, rows: Rows, size: tuple[int, int], mode: str = 'bilinear', align_corners: bool = False) -> None:
        if mode not in ('bilinear', 'nearest'):
            raise ValueError(f"resizing by {mode!r} does not run in strips: use 'bilinear' or 'nearest'")
        super().__init__(rows.batch, *size)
        self.rows, self.mode, self.align_corners = rows, mode, bool(align_corners)

    def plane(self, start: int, stop: int) -> torch.Tensor:
        rows, size, out = self.rows, (self.rows.height, self.rows.width), (self.height, self.width)
        if size == out:
            return rows.plane(start, stop)
        if self.mode == 'bilinear':
            return resize_rows(rows.plane, size, out, start, stop, self.align_corners)
        source = self._nearest(start, stop)
        first = int(source[0])
        plane = rows.plane(first, int(source[-1]) + 1)
        return F.interpolate(plane.index_select(2, (source - first).to(plane.device)), (stop - start, out[1]))

    def read(self, start: int, stop: int) -> torch.Tensor:
        return map_to_tokens(self.plane(start, stop))

    def sources(self, start: int, stop: int) -> list[Span]:
        if self.rows.height == self.height and self.rows.width == self.width:
            return [Span(self.rows, start, stop)]
        if self.mode == 'bilinear':
            return [Span(self.rows, *resize_span(self.rows.height, self.height, start, stop, self.align_corners))]
        source = self._nearest(start, stop)
        return [Span(self.rows, int(source[0]), int(source[-1]) + 1)]

    def _nearest(self, start: int, stop: int) -> torch.Tensor:
        """The source rows that F.interpolate takes, counted by itself on a map of one column."""
        # by its own rounding, which is asked for instead of written again
        source = torch.arange(self.rows.height, dtype=torch.float64).view(1, 1, -1, 1)
        return F.interpolate(source, (self.height, 1)).flatten()[start:stop].long()


class SumRows(Rows):
    """The sum of maps of one size."""

    def __init__(self, *maps: Rows) -> None:
        super().__init__(maps[0].batch, maps[0].height, maps[0].width)
        self.maps = maps

    def read(self, start: int, stop: int) -> torch.Tensor:
        first, *others = (x.read(start, stop) for x in self.maps)
        return sum(others, first)

    def sources(self, start: int, stop: int) -> list[Span]:
        return [Span(x, start, stop) for x in self.maps]


class JoinedRows(Rows):
    """Maps of one size, channel after channel."""

    def __init__(self, *maps: Rows) -> None:
        super().__init__(maps[0].batch, maps[0].height, maps[0].width)
        self.maps = maps

    def read(self, start: int, stop: int) -> torch.Tensor:
        return torch.cat([x.read(start, stop) for x in self.maps], dim=-1)

    def sources(self, start: int, stop: int) -> list[Span]:
        return [Span(x, start, stop) for x in self.maps]
