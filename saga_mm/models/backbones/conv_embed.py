"""The convolutional embedding of RAVLT."""

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm

from saga_mm.models.init import init_truncated
from saga_mm.models.norm_steps import BatchNormStep
from saga_mm.ops import Grid, captures_graph, ceil_div, map_to_tokens, pad_to_multiple, tokens_to_map
from saga_mm.rows import LocalStep, RowStep

NORMS: dict[str, type[_BatchNorm]] = {'BN': nn.BatchNorm2d, 'SyncBN': nn.SyncBatchNorm}


class ConvEmbed(nn.Module):
    """3x3 convolutions with batch norms, GELUs between, and the result as tokens; strides of 2 round up.

    Args:
        channels: Of the input and of each convolution's output.
        strides: Of each convolution.
        norm_cfg: Batch norm, ``type`` is ``'BN'`` or ``'SyncBN'``; other keys go to the layer.

    Attributes:
        stride: Rows of the map to one of tokens.
        reach: Rows beyond a token's own that it depends on.
        peak_floats_per_token: As of ``PatchEmbed``.
    """

    def __init__(self, channels: Sequence[int], strides: Sequence[int], norm_cfg: dict[str, Any]) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        self.stride, self.reach, self.peak_floats_per_token = 1, 0, 0.0
        for i, stride in enumerate(strides):
            convolution = nn.Conv2d(channels[i], channels[i + 1], 3, stride, 1)
            # the input in another order, and the output before and after its norm
            before, after = (2 * channels[i] / self.stride**2, 3 * channels[i + 1] / (self.stride * stride) ** 2)
            self.peak_floats_per_token = max(self.peak_floats_per_token, channels[0] + before + after)
            # one row of this layer's input, in rows of the first
            self.reach += self.stride
            self.stride *= stride
            layers += [convolution, _build_norm(norm_cfg, channels[i + 1]), nn.GELU()]
        self.proj = nn.Sequential(*layers[:-1])
        self.apply(init_truncated)

    @property
    def steps(self) -> list[RowStep]:
        """The layers one by one, for batch norms that train: each has to see the whole batch."""
        steps: list[RowStep] = []
        for i in range(0, len(self.proj), 3):
            conv, norm, *after = self.proj[i : i + 3]
            floats = 2.0 * (conv.in_channels + conv.out_channels)
            steps.append(LocalStep(_convolving(conv), floats, conv.stride[0], 1, [conv], 'embed'))
            steps.append(BatchNormStep(norm, *after))
        return steps

    def forward(self, x: torch.Tensor) -> tuple[torch.Tensor, Grid]:
        for layer in self.proj:
            if captures_graph() and isinstance(layer, nn.Conv2d):
                # with the zeros that it pads anyway: so a compiler knows the sides of its map as quotients
                x = pad_to_multiple(x, layer.stride[0])
            x = layer(x)
        return map_to_tokens(x), Grid.whole(*x.shape[2:])


def _convolving(conv: nn.Conv2d) -> Callable[[torch.Tensor, Grid], tuple[torch.Tensor, Grid]]:
    """A convolution of a strip of a map that begins where its stride divides the row."""

    def run(x: torch.Tensor, grid: Grid) -> tuple[torch.Tensor, Grid]:
        x, stride = conv(tokens_to_map(x, grid)), conv.stride[0]
        start = grid.start // stride
        return map_to_tokens(x), Grid(ceil_div(grid.height, stride), x.shape[3], start, start + x.shape[2])

    return run


def _build_norm(cfg: dict[str, Any], channels: int) -> _BatchNorm:
    options = dict(cfg)
    kind = options.pop('type', None)
    if kind not in NORMS:
        raise ValueError(f'unknown norm_cfg type {kind!r}; choose one of {", ".join(NORMS)}')
    return NORMS[kind](channels, **options)
