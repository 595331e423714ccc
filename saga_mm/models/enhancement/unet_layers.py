"""Layers of SAGAUNet, as modules over whole maps and as steps over rows."""

from collections.abc import Sequence
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import nn

from saga_mm.models.attention import build_attention
from saga_mm.models.backbones.blocks import Block
from saga_mm.models.backbones.pvt_v2 import ConvFeedForward
from saga_mm.ops import Grid, map_to_tokens, wide
from saga_mm.ops.carrying import carried
from saga_mm.rows import LocalStep, RowStep, crop_rows


class Downsample(nn.Module):
    """Halve a map ``(B, C, H, W)`` by a convolution of stride 2, as tokens and their grid; odd sides round up.

    Args:
        in_channels: Channels C.
        embed_dims: Channels of a token.
        kernel: 2, or 3 for windows that overlap.

    Attributes:
        stride: Rows of the map to one of tokens.
        reach: Rows beyond a token's own that it depends on.
        peak_floats_per_token: Numbers alive at once for each pixel of the map.
    """

    stride = 2

    def __init__(self, in_channels: int, embed_dims: int, kernel: int = 2) -> None:
        super().__init__()
        self.conv = nn.Conv2d(in_channels, embed_dims, kernel, 2, padding=kernel // 3)
        self.reach = kernel - 2
        self.peak_floats_per_token = 2 * in_channels + 2 * embed_dims / 4

    def forward(self, x: torch.Tensor) -> tuple[torch.Tensor, Grid]:
        if not self.reach:
            # the last row or column once more, so that it stays what it is
            x = F.pad(x, (0, x.shape[3] % 2, 0, x.shape[2] % 2), mode='replicate')
        x = self.conv(x)
        return map_to_tokens(x), Grid.whole(*x.shape[2:])


class Lift(Downsample):
    """Embed an image and its square root, which spreads dark tones, at half the size.

    Args:
        in_channels: Channels of the image.
        embed_dims: Channels of a token.
    """

    def __init__(self, in_channels: int, embed_dims: int) -> None:
        super().__init__(2 * in_channels, embed_dims, kernel=3)
        # the image, its square root, and both side by side
        self.peak_floats_per_token += 2 * in_channels

    def forward(self, x: torch.Tensor) -> tuple[torch.Tensor, Grid]:
        return super().forward(torch.cat([x, (x.clamp(min=0) + 1e-4).sqrt()], dim=1))


class Tokens(nn.Module):
    """Turn a map into tokens without computation: the embedding of a stage that keeps size and channels."""

    stride, reach = 1, 0

    def __init__(self, embed_dims: int) -> None:
        super().__init__()
        # most of it for the sum of two maps, one of them enlarged, that is made when its rows are asked for
        self.peak_floats_per_token = 6.0 * embed_dims

    def forward(self, x: torch.Tensor) -> tuple[torch.Tensor, Grid]:
        return map_to_tokens(x), Grid.whole(*x.shape[2:])


class Upsample(nn.Module):
    """Double a map ``(B, C, H, W)``: each token makes four, side by side.

    Args:
        in_channels: Channels C.
        out_channels: Channels of the larger map.
    """

    def __init__(self, in_channels: int, out_channels: int) -> None:
        super().__init__()
        self.conv = nn.Conv2d(in_channels, 4 * out_channels, 1)

    def forward(self, x: torch.Tensor, size: Sequence[int]) -> torch.Tensor:
        """The larger map, cropped to ``size``, which may be odd."""
        return self.enlarge(x)[:, :, : size[0], : size[1]]

    def enlarge(self, x: torch.Tensor) -> torch.Tensor:
        """The larger map, ``(B, out_channels, 2H, 2W)``."""
        return F.pixel_shuffle(self.conv(x), 2)


class LocalBlock(nn.Module):
    """A feed-forward with a depthwise convolution, behind a norm and around a residual: a block without attention."""

    def __init__(self, embed_dims: int, hidden_dims: int) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(embed_dims, eps=1e-6)
        self.mlp = ConvFeedForward(embed_dims, hidden_dims)
        self.peak_floats_per_token = 4.0 * hidden_dims + 4 * embed_dims

    def forward(self, x: torch.Tensor, grid: Grid) -> torch.Tensor:
        return x + self.mlp(self.norm(x), grid)

    @property
    def steps(self) -> list[RowStep]:
        """The block as a step over rows."""

        def run(x: torch.Tensor, grid: Grid) -> tuple[torch.Tensor, Grid]:
            return self(x, grid), grid

        return [LocalStep(run, self.peak_floats_per_token, reach=self.mlp.halo, modules=[self])]


class ToneState(NamedTuple):
    """Mean and variance of the channels over tokens, each ``(B, C)``, and the number of tokens."""

    mean: torch.Tensor
    variance: torch.Tensor
    count: float

    @property
    def square(self) -> torch.Tensor:
        """The mean of the squares. It adds like the mean, but the variance cannot be computed exactly from it."""
        return self.variance + self.mean.square()


class GlobalTone(RowStep, nn.Module):
    """Scale and shift of every channel, from mean and deviation of all channels over the whole map.

    Starts as the identity.

    Args:
        embed_dims: Channels.
        hidden_dims: Inner width.
    """

    sweeps = 1

    def __init__(self, embed_dims: int, hidden_dims: int = 64) -> None:
        super().__init__()
        self.fc1 = nn.Linear(2 * embed_dims, hidden_dims)
        self.act = nn.GELU()
        self.fc2 = nn.Linear(hidden_dims, 2 * embed_dims)
        # the identity at first, so that the global layer does not disturb what local layers learn
        nn.init.zeros_(self.fc2.weight)
        nn.init.zeros_(self.fc2.bias)
        self.peak_floats_per_token = 3.0 * embed_dims

    @property
    def steps(self) -> list[RowStep]:
        """The layer as a step over rows."""
        return [self]

    def write(self, x: torch.Tensor, grid: Grid, state: None = None) -> ToneState:
        x = wide(x)
        mean = x.mean(1)
        # the mean of squares minus the square of the mean would lose all digits where the map is nearly constant
        return ToneState(mean, (x - mean[:, None]).square().mean(1), x.shape[1])

    def merge(self, states: Sequence[ToneState]) -> ToneState:
        count = sum(state.count for state in states)
        shares = [state.count / count for state in states]
        mean = sum(share * state.mean for share, state in zip(shares, states))
        spread = [state.variance + (state.mean - mean).square() for state in states]
        return ToneState(mean, sum(share * each for share, each in zip(shares, spread)), count)

    def read(self, x: torch.Tensor, grid: Grid, state: ToneState, keep: Grid) -> torch.Tensor:
        return self._toned(crop_rows(x, grid, keep), state)

    def forward(self, x: torch.Tensor, grid: Grid) -> torch.Tensor:
        return self._toned(x, carried(self.write(x, grid)))

    def _toned(self, x: torch.Tensor, state: ToneState) -> torch.Tensor:
        # the square root has no finite slope at zero
        deviation = state.variance.clamp(min=1e-6).sqrt()
        facts = torch.cat([state.mean, deviation], dim=1).to(x.dtype)
        scale, shift = self.fc2(self.act(self.fc1(facts))).unsqueeze(1).chunk(2, dim=2)
        return x + x * scale + shift


def make_block(embed_dims: int, num_heads: int, hidden_dims: int, attention: str | dict) -> nn.Module:
    """A block with attention over the whole map, or without any if there are no heads."""
    if not num_heads:
        return LocalBlock(embed_dims, hidden_dims)
    mixer = build_attention(attention, embed_dims, num_heads)
    return Block(embed_dims, mixer, ConvFeedForward(embed_dims, hidden_dims), drop_path=0.0)
