"""The head of an enhancer: from maps to an image."""

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import nn

from saga_mm.foundation import BaseModule
from saga_mm.models.openmmlab.layer_steps import ResizedRows, SumRows
from saga_mm.ops import ceil_div, map_to_tokens, tokens_to_map
from saga_mm.registry import MODELS
from saga_mm.rows import AppliedRows, Engine, LocalStep, RowRunner, Rows, Span


@MODELS.register_module()
class EnhancementHead(BaseModule):
    """Illumination gain and residual at full resolution: ``answer = image * (1 + gain) + residual`` (Retinex-style).

    Maps of several levels are projected, resized to the finest and summed. A 3 x 3 convolution makes gain and residual
    of all pixels of a token, which are then laid out side by side. At first the answer is the image.

    Args:
        in_channels: Channels of each map.
        strides: Stride of each map, the finest first.
        channels: Width of the projections; a single map is not projected.
        init_cfg: Initialisation config of mmengine.

    Raises:
        ValueError: If the lists differ in length, or the finest map does not come first.
    """

    def __init__(
        self,
        in_channels: Sequence[int],
        strides: Sequence[int],
        channels: int = 64,
        init_cfg: dict | list[dict] | None = None,
    ) -> None:
        super().__init__(init_cfg)
        if len(in_channels) != len(strides):
            raise ValueError(f'in_channels lists {len(in_channels)} maps and strides {len(strides)}')
        if list(strides) != sorted(strides):
            raise ValueError(f'strides={list(strides)} must begin with the finest map')
        self.stride = strides[0]
        single = len(in_channels) == 1
        self.projections = nn.ModuleList() if single else nn.ModuleList(nn.Linear(c, channels) for c in in_channels)
        self.act = nn.Identity() if single else nn.GELU()
        self.conv = nn.Conv2d(in_channels[0] if single else channels, 6 * self.stride**2, 3, padding=1)
        nn.init.normal_(self.conv.weight, std=1e-3)
        nn.init.zeros_(self.conv.bias)

    def forward(self, maps: Sequence[torch.Tensor], image: torch.Tensor) -> torch.Tensor:
        """The enhanced image, ``(B, 3, H, W)``, not clamped.

        Args:
            maps: ``(B, in_channels[i], ceil(H / strides[i]), ceil(W / strides[i]))``.
            image: ``(B, 3, H, W)`` in [0, 1].
        """
        size = maps[0].shape[2:]
        if self.projections:
            maps = [layer(x.permute(0, 2, 3, 1)).permute(0, 3, 1, 2) for layer, x in zip(self.projections, maps)]
        fused = maps[0]
        for x in maps[1:] if self.projections else ():
            fused = fused + F.interpolate(x, size, mode='bilinear')
        return apply_gain(image, self._spread(self.conv(self.act(fused)), image.shape[2:]))

    def forward_rows(self, maps: Sequence[Rows], image: Rows, runner: RowRunner) -> Rows:
        """As :meth:`forward`, the image to be asked for rows."""
        if self.projections:
            maps = [AppliedRows(x, layer) for layer, x in zip(self.projections, maps)]
            size = maps[0].height, maps[0].width
            source = SumRows(maps[0], *(ResizedRows(x, size) for x in maps[1:]))
        else:
            source = maps[0]

        def convolve(x: torch.Tensor, grid: object) -> tuple[torch.Tensor, object]:
            return map_to_tokens(self.conv(tokens_to_map(self.act(x), grid))), grid

        peak_floats_per_token = 3.0 * self.conv.in_channels + 2 * self.conv.out_channels
        step = LocalStep(convolve, peak_floats_per_token, reach=1, modules=[self.conv, self.act], label='gain')
        return EnhancedRows(self, image, runner.run([step], source), runner.engine)

    def finish(self, gain: torch.Tensor, image: torch.Tensor) -> torch.Tensor:
        """The answer for whole tokens of a map.

        Args:
            gain: What the convolution makes of it, ``(B, 6 * stride^2, H, W)``.
            image: ``(B, 3, stride * H, stride * W)``.
        """
        return apply_gain(image, F.pixel_shuffle(gain, self.stride))

    def _spread(self, x: torch.Tensor, size: Sequence[int]) -> torch.Tensor:
        return F.pixel_shuffle(x, self.stride)[:, :, : size[0], : size[1]]


class EnhancedRows(Rows):
    """The answer, of the image and the map of its gain and residual before they are spread over pixels."""

    def __init__(self, head: EnhancementHead, image: Rows, gain: Rows, engine: Engine) -> None:
        super().__init__(image.batch, image.height, image.width)
        self.head, self.image, self.gain, self.engine = head, image, gain, engine

    def plane(self, start: int, stop: int) -> torch.Tensor:
        stride = self.head.stride
        first, last = start // stride, ceil_div(stop, stride)
        gain = self.gain.plane(first, last)
        image = self.image.plane(first * stride, min(last * stride, self.height))
        below, right = gain.shape[2] * stride - image.shape[2], gain.shape[3] * stride - image.shape[3]
        answer = self.engine.apply(self.head.finish, [self.head.conv], gain, F.pad(image, (0, right, 0, below)))
        return answer[:, :, start - first * stride : stop - first * stride, : self.width]

    def read(self, start: int, stop: int) -> torch.Tensor:
        return map_to_tokens(self.plane(start, stop))

    def sources(self, start: int, stop: int) -> list[Span]:
        stride = self.head.stride
        first, last = start // stride, ceil_div(stop, stride)
        return [Span(self.gain, first, last), Span(self.image, first * stride, min(last * stride, self.height))]


def apply_gain(image: torch.Tensor, gain: torch.Tensor) -> torch.Tensor:
    """``image * (1 + gain) + residual``; ``gain`` is ``(B, 6, H, W)``, the residual its second half."""
    gain, residual = gain.chunk(2, dim=1)
    # image * gain + image + residual, in one pass fewer over all pixels
    return torch.addcmul(image + residual, image, gain)
