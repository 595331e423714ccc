"""Blocks, feed-forward, patch embedding and stochastic depth that several backbones share."""

from collections.abc import Sequence
from typing import Any

import torch
from torch import nn

from saga_mm.models.attention import TokenMixer
from saga_mm.models.init import init_weights
from saga_mm.ops import Grid, captures_graph, map_to_tokens, pad_to_multiple, round_up
from saga_mm.rows import RowStep, crop_rows, grow_rows


class DropPath(nn.Module):
    """Drop a residual branch of some samples while training (stochastic depth, Huang et al., 2016).

    Args:
        rate: Probability of dropping, in [0, 1).
    """

    def __init__(self, rate: float = 0.0) -> None:
        super().__init__()
        self.rate = rate

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        if not self.training or self.rate == 0:
            return x
        keep = 1 - self.rate
        # what is kept is enlarged: its expectation while training is what evaluation computes
        return x * x.new_empty((x.shape[0],) + (1,) * (x.ndim - 1)).bernoulli_(keep).div_(keep)

    def extra_repr(self) -> str:
        return f'rate={self.rate}'


class FeedForward(nn.Module):
    """Two linear layers with a GELU between, on tokens ``(B, N, C)``.

    Attributes:
        halo: Rows beyond a strip that its own rows depend on.
        hidden_dims: Channels between the two layers, which may be adapters that know no such number.
    """

    halo: int = 0

    def __init__(self, embed_dims: int, hidden_dims: int) -> None:
        super().__init__()
        self.hidden_dims = hidden_dims
        self.fc1 = nn.Linear(embed_dims, hidden_dims)
        self.act = nn.GELU()
        self.fc2 = nn.Linear(hidden_dims, embed_dims)
        self.apply(init_weights)

    def forward(self, x: torch.Tensor, grid: Grid | None = None) -> torch.Tensor:
        return self.fc2(self.act(self.fc1(x)))


class MixerBlock(RowStep, nn.Module):
    """A block with attention ``attn`` behind ``norm1``, as a row step.

    A subclass defines how the output of attention joins the tokens, and what follows.
    """

    @property
    def feed_forward(self) -> nn.Module:
        """The part of :meth:`feed` that is widest and may look at neighbours: it has ``hidden_dims`` and a ``halo``."""
        raise NotImplementedError

    def join(self, x: torch.Tensor, mixed: torch.Tensor) -> torch.Tensor:
        """Tokens after the attention, from those before it and its output."""
        raise NotImplementedError

    def feed(self, x: torch.Tensor, grid: Grid) -> torch.Tensor:
        """Tokens after the feed-forward, from those after the attention."""
        raise NotImplementedError

    def forward(self, x: torch.Tensor, grid: Grid) -> torch.Tensor:
        x = self.join(x, self.attn(self.norm1(x), grid))
        return self.feed(x, grid)

    @property
    def steps(self) -> list[RowStep]:
        """The block as steps that run one after the other."""
        return [self]

    @property
    def sweeps(self) -> int:
        return self.attn.sweeps

    @property
    def row_multiple(self) -> int:
        return self.attn.row_multiple

    @property
    def halo(self) -> int:
        # both look beyond the strip, one after the other; a strip with its halo begins where windows do
        return round_up(self.attn.halo + self.feed_forward.halo, self.row_multiple)

    @property
    def peak_floats_per_token(self) -> float:
        hidden, channels = self.feed_forward.hidden_dims, self.norm1.weight.numel()
        # before and after the activation, and around a convolution that wants its input in another order
        return max(
            self.attn.peak_floats_per_channel * channels, (4 if self.feed_forward.halo else 2) * hidden + 4 * channels
        )

    @property
    def state_floats_per_token(self) -> float:
        return self.attn.state_floats_per_channel * self.norm1.weight.numel()

    def write(self, x: torch.Tensor, grid: Grid, state: Any = None) -> Any:
        return self.attn.write(self.norm1(x), grid, state)

    def merge(self, states: Sequence[Any]) -> Any:
        return self.attn.merge(states)

    def attend(self, x: torch.Tensor, grid: Grid, state: Any, keep: Grid) -> torch.Tensor:
        """Tokens after the attention at the rows of ``keep``, from those before it at ``grid``."""
        mixed = crop_rows(self.attn.read(self.norm1(x), grid, state), grid, keep)
        return self.join(crop_rows(x, grid, keep), mixed)

    def read(self, x: torch.Tensor, grid: Grid, state: Any, keep: Grid) -> torch.Tensor:
        if not self.feed_forward.halo:
            return self.feed(self.attend(x, grid, state, keep), keep)
        # attention for the rows that the feed-forward looks at as well; both are cut to the strip afterwards
        near = grow_rows(keep, self.feed_forward.halo)
        return crop_rows(self.feed(self.attend(x, grid, state, near), near), near, keep)


class Block(MixerBlock):
    """Attention and feed-forward, each behind a norm and around a residual; both are given tokens and their grid."""

    def __init__(
        self, embed_dims: int, attention: TokenMixer, mlp: FeedForward, drop_path: float, eps: float = 1e-6
    ) -> None:
        super().__init__()
        self.norm1 = nn.LayerNorm(embed_dims, eps=eps)
        self.attn = attention
        self.norm2 = nn.LayerNorm(embed_dims, eps=eps)
        self.mlp = mlp
        self.drop_path = DropPath(drop_path)

    @property
    def feed_forward(self) -> FeedForward:
        return self.mlp

    def join(self, x: torch.Tensor, mixed: torch.Tensor) -> torch.Tensor:
        return x + self.drop_path(mixed)

    def feed(self, x: torch.Tensor, grid: Grid) -> torch.Tensor:
        return x + self.drop_path(self.mlp(self.norm2(x), grid))

    def forward_with_token(self, x: torch.Tensor, grid: Grid) -> torch.Tensor:
        """The block on a class token and the tokens of a map behind it, ``(B, 1 + N, C)``, which see each other."""
        normed = self.norm1(x)
        # two sets of tokens, whose states add: the class token has no place in the map
        parts, state = ((normed[:, :1], None), (normed[:, 1:], grid)), None
        for _ in range(self.attn.sweeps):
            state = self.attn.merge([self.attn.write(*part, state) for part in parts])
        x = self.join(x, torch.cat([self.attn.read(*part, state) for part in parts], dim=1))
        return self.feed(x, None)


class PatchEmbed(nn.Module):
    """Cut a map ``(B, C, H, W)`` into patches and embed each as a token: ``(B, ceil(H/p) * ceil(W/p), embed_dims)``.

    A side that the patch size does not divide is padded with zeros below and to the right, so that every pixel counts.

    Args:
        in_channels: Channels C.
        embed_dims: Channels of a token.
        patch_size: Stride p between patches, and their size.
        overlap: Patches of ``2p - 1`` that are centred, with zeros around the map, as in PVTv2.

    Attributes:
        stride: Rows of the map to one of tokens.
        reach: Rows beyond a token's own that it depends on.
    """

    def __init__(self, in_channels: int, embed_dims: int, patch_size: int, overlap: bool = False) -> None:
        super().__init__()
        self.multiple = 1 if overlap else patch_size
        self.stride = patch_size
        kernel, padding = (2 * patch_size - 1, patch_size - 1) if overlap else (patch_size, 0)
        self.proj = nn.Conv2d(in_channels, embed_dims, kernel, patch_size, padding)
        self.norm = nn.LayerNorm(embed_dims)
        self.apply(init_weights)

    def forward(self, x: torch.Tensor) -> tuple[torch.Tensor, Grid]:
        x = pad_to_multiple(x, self.multiple)
        if x.device.type == 'cpu' and not captures_graph():
            # a convolution keeps the order of its input: channels last makes tokens, of which a map would be a copy
            x = x.contiguous(memory_format=torch.channels_last)
        x = self.proj(x)
        return self.norm(map_to_tokens(x)), Grid.whole(*x.shape[2:])

    @property
    def reach(self) -> int:
        # overlapping patches reach p - 1 rows above; below they end with their own
        return self.proj.kernel_size[0] - self.stride

    @property
    def peak_floats_per_token(self) -> float:
        """As of :class:`RowStep`, for each pixel of the map: its copies, and what the tokens are before their norm."""
        return 2 * self.proj.in_channels + 3 * self.proj.out_channels / self.stride**2
