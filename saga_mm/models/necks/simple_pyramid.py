"""The simple feature pyramid of ViTDet (Li et al., ECCV 2022)."""

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import nn

from saga_mm.foundation import BaseModule
from saga_mm.models.init import init_weights
from saga_mm.registry import MODELS

from .shared_state import check_maps

SCALES = (4, 2, 1, 0.5)


class MapNorm(nn.LayerNorm):
    """LayerNorm over the channels of a map ``(B, C, H, W)``."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return super().forward(x.permute(0, 2, 3, 1)).permute(0, 3, 1, 2)


@MODELS.register_module()
class SimplePyramid(BaseModule):
    """Maps at several strides of one map, such as those at 4, 8, 16 and 32 of a ViT's at 16.

    Each level is the map enlarged by transposed convolutions (twice with a norm and GELU between for 4, once for 2),
    as it is, or halved by pooling, then a 1x1 and a 3x3 convolution, each with a norm.

    Args:
        in_channels: Channels of the map.
        out_channels: Channels of every output.
        scales: Size of each output by that of the map: 4, 2, 1 or 0.5.
        num_outs: Number of outputs; further ones take every second pixel of the one before. None for ``scales`` alone.
        init_cfg: Initialisation config of mmengine.

    Raises:
        ValueError: If a scale is none of these, or ``num_outs`` is less than their number.
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int = 256,
        scales: Sequence[float] = SCALES,
        num_outs: int | None = None,
        init_cfg: dict | list[dict] | None = None,
    ) -> None:
        super().__init__(init_cfg)
        if not scales or not set(scales) <= set(SCALES):
            raise ValueError(f'scales={tuple(scales)} must be some of {SCALES}')
        self.num_outs = len(scales) if num_outs is None else num_outs
        if self.num_outs < len(scales):
            raise ValueError(f'num_outs={num_outs} is fewer than the {len(scales)} scales')
        self.in_channels = in_channels
        self.levels = nn.ModuleList(_level(in_channels, out_channels, scale) for scale in scales)
        self.apply(init_weights)

    def forward(self, inputs: Sequence[torch.Tensor]) -> tuple[torch.Tensor, ...]:
        """Maps ``(B, out_channels, ...)`` of the last of ``inputs``, ``(B, in_channels, H, W)``; halves round up.

        Raises:
            ValueError: If the map has other channels.
        """
        check_maps(inputs[-1:], [self.in_channels])
        outs = [level(inputs[-1]) for level in self.levels]
        while len(outs) < self.num_outs:
            outs.append(F.max_pool2d(outs[-1], 1, stride=2))
        return tuple(outs)


def _level(in_channels: int, out_channels: int, scale: float) -> nn.Sequential:
    layers: list[nn.Module] = []
    channels = in_channels
    while scale > 1:
        if layers:
            layers += [MapNorm(channels, eps=1e-6), nn.GELU()]
        layers.append(nn.ConvTranspose2d(channels, channels // 2, 2, stride=2))
        channels //= 2
        scale /= 2
    if scale < 1:
        # rounded up, as the strides of all backbones here are
        layers.append(nn.MaxPool2d(2, stride=2, ceil_mode=True))
    for kernel in (1, 3):
        # the norm behind it has a bias
        layers.append(nn.Conv2d(channels, out_channels, kernel, padding=kernel // 2, bias=False))
        layers.append(MapNorm(out_channels, eps=1e-6))
        channels = out_channels
    return nn.Sequential(*layers)
