"""Retinexformer, the leader of low-light enhancement, to measure against: for benchmarks alone, without its weights.

Cai et al., "Retinexformer: One-stage Retinex-based Transformer for Low-light Image Enhancement", ICCV 2023: the image
is lit by an estimated map, then a U-shaped transformer restores it. Attention is across channels, so linear in pixels.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import nn


class LightEstimator(nn.Module):
    """What to light an image with, from its colours and their mean.

    Args:
        dims: Channels of the light-up feature.
    """

    def __init__(self, dims: int) -> None:
        super().__init__()
        self.embed = nn.Conv2d(4, dims, 1)
        self.mix = nn.Conv2d(dims, dims, 5, padding=2, groups=4)
        self.light = nn.Conv2d(dims, 3, 1)

    def forward(self, image: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Light-up feature ``(B, dims, H, W)`` and map ``(B, 3, H, W)`` of an image ``(B, 3, H, W)``."""
        feature = self.mix(self.embed(torch.cat([image, image.mean(1, keepdim=True)], dim=1)))
        return feature, self.light(feature)


class LightGuidedAttention(nn.Module):
    """Attention across channels whose values are multiplied by the light-up feature (IG-MSA of the paper).

    With ``q``, ``k`` and ``v`` one row for each channel of a head, and rows of ``q`` and ``k`` of unit length:
    ``softmax(scale * k q^T) (v * light)``, projected, plus two depthwise convolutions of ``v``.

    Args:
        dims: Channels.
        num_heads: Heads.
    """

    def __init__(self, dims: int, num_heads: int) -> None:
        super().__init__()
        self.num_heads = num_heads
        self.q = nn.Linear(dims, dims, bias=False)
        self.k = nn.Linear(dims, dims, bias=False)
        self.v = nn.Linear(dims, dims, bias=False)
        self.scale = nn.Parameter(torch.ones(num_heads, 1, 1))
        self.proj = nn.Linear(dims, dims)
        self.position = nn.Sequential(_depthwise(dims), nn.GELU(), _depthwise(dims))

    def forward(self, x: torch.Tensor, light: torch.Tensor) -> torch.Tensor:
        """Maps and light-up features, all ``(B, H, W, dims)``."""
        q, k, v = self.q(x), self.k(x), self.v(x)
        q, k = (F.normalize(self._heads(t), dim=-1) for t in (q, k))
        weights = (k @ q.transpose(-2, -1) * self.scale).softmax(-1)
        mixed = weights @ self._heads(v * light)
        mixed = mixed.permute(0, 3, 1, 2).reshape(x.shape)
        return self.proj(mixed) + _channels_first(self.position, v)

    def _heads(self, x: torch.Tensor) -> torch.Tensor:
        """``(B, heads, d, N)`` of a map ``(B, H, W, heads * d)``."""
        return x.flatten(1, 2).unflatten(2, (self.num_heads, -1)).permute(0, 2, 3, 1)


class RetinexBlock(nn.Module):
    """Attention and a feed-forward with a depthwise convolution, each around a residual; a norm before the second.

    Args:
        dims: Channels.
        num_heads: Heads.
    """

    def __init__(self, dims: int, num_heads: int) -> None:
        super().__init__()
        hidden = 4 * dims
        self.attn = LightGuidedAttention(dims, num_heads)
        self.norm = nn.LayerNorm(dims)
        self.mlp = nn.Sequential(
            nn.Conv2d(dims, hidden, 1, bias=False),
            nn.GELU(),
            _depthwise(hidden),
            nn.GELU(),
            nn.Conv2d(hidden, dims, 1, bias=False),
        )

    def forward(self, x: torch.Tensor, light: torch.Tensor) -> torch.Tensor:
        """Maps and light-up features, all ``(B, H, W, dims)``."""
        x = x + self.attn(x, light)
        return x + _channels_first(self.mlp, self.norm(x))


class Level(nn.Module):
    """Blocks at one resolution.

    Args:
        dims: Channels.
        num_heads: Heads.
        depth: Blocks.
    """

    def __init__(self, dims: int, num_heads: int, depth: int) -> None:
        super().__init__()
        self.blocks = nn.ModuleList(RetinexBlock(dims, num_heads) for _ in range(depth))

    def forward(self, x: torch.Tensor, light: torch.Tensor) -> torch.Tensor:
        """Maps and light-up features, all ``(B, dims, H, W)``."""
        x, light = x.permute(0, 2, 3, 1), light.permute(0, 2, 3, 1)
        for block in self.blocks:
            x = block(x, light)
        return x.permute(0, 3, 1, 2)


class Retinexformer(nn.Module):
    """The whole model; as it stands, in the size of the paper.

    Args:
        dims: Channels at full resolution, and of each head.
        depths: Blocks at full resolution, half, and so on; the decoder has as many, at all levels but the last.
    """

    def __init__(self, dims: int = 40, depths: Sequence[int] = (1, 2, 2)) -> None:
        super().__init__()
        *outer, last = range(len(depths))
        self.multiple = 2**last
        widths = [dims * 2**i for i in range(len(depths))]
        self.estimator = LightEstimator(dims)
        self.embed = nn.Conv2d(3, dims, 3, padding=1, bias=False)
        self.encoder = nn.ModuleList(Level(widths[i], 2**i, depths[i]) for i in outer)
        self.downs = nn.ModuleList(_halve(widths[i]) for i in outer)
        self.light_downs = nn.ModuleList(_halve(widths[i]) for i in outer)
        self.bottleneck = Level(widths[last], 2**last, depths[last])
        self.ups = nn.ModuleList(nn.ConvTranspose2d(widths[i + 1], widths[i], 2, stride=2) for i in reversed(outer))
        self.fusions = nn.ModuleList(nn.Conv2d(widths[i + 1], widths[i], 1, bias=False) for i in reversed(outer))
        self.decoder = nn.ModuleList(Level(widths[i], 2**i, depths[i]) for i in reversed(outer))
        self.project = nn.Conv2d(dims, 3, 3, padding=1, bias=False)

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        """The enhanced image, not clamped, of ``(B, 3, H, W)`` in [0, 1].

        Sides that are no multiple of four are padded by their last row or column, and cropped again.
        """
        height, width = image.shape[2:]
        missing = -width % self.multiple, -height % self.multiple
        if any(missing):
            image = F.pad(image, (0, missing[0], 0, missing[1]), mode='replicate')
        light, light_map = self.estimator(image)
        return self._restore(image * light_map + image, light)[:, :, :height, :width]

    def _restore(self, image: torch.Tensor, light: torch.Tensor) -> torch.Tensor:
        x = self.embed(image)
        skips = []
        for level, down, light_down in zip(self.encoder, self.downs, self.light_downs):
            x = level(x, light)
            skips.append((x, light))
            x, light = down(x), light_down(light)
        x = self.bottleneck(x, light)
        # what is no longer needed stays alive, as in the published model, whose memory is to be measured
        for up, fusion, level, (skip, light) in zip(self.ups, self.fusions, self.decoder, reversed(skips)):
            x = up(x)
            x = fusion(torch.cat([x, skip], dim=1))
            x = level(x, light)
        return image + self.project(x)


def _depthwise(dims: int) -> nn.Conv2d:
    return nn.Conv2d(dims, dims, 3, padding=1, groups=dims, bias=False)


def _halve(dims: int) -> nn.Conv2d:
    return nn.Conv2d(dims, 2 * dims, 4, stride=2, padding=1, bias=False)


def _channels_first(layers: nn.Module, x: torch.Tensor) -> torch.Tensor:
    """Convolutions of a map ``(B, H, W, C)``."""
    return layers(x.permute(0, 3, 1, 2)).permute(0, 2, 3, 1)
