"""Parts that several hosts share."""

import torch
from torch import nn

from saga_mm.models.init import init_weights
from saga_mm.ops import Grid, map_to_tokens, pad_to_multiple


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
        return x * x.new_empty((x.shape[0],) + (1,) * (x.ndim - 1)).bernoulli_(keep).div_(keep)

    def extra_repr(self) -> str:
        return f'rate={self.rate}'


class FeedForward(nn.Module):
    """Two linear layers with a GELU between, on tokens ``(B, N, C)``."""

    def __init__(self, embed_dims: int, hidden_dims: int) -> None:
        super().__init__()
        self.fc1 = nn.Linear(embed_dims, hidden_dims)
        self.act = nn.GELU()
        self.fc2 = nn.Linear(hidden_dims, embed_dims)
        self.apply(init_weights)

    def forward(self, x: torch.Tensor, grid: Grid | None = None) -> torch.Tensor:
        return self.fc2(self.act(self.fc1(x)))


class Block(nn.Module):
    """Attention and feed-forward, each behind a norm and around a residual; both are given tokens and their grid."""

    def __init__(
        self, embed_dims: int, attention: nn.Module, mlp: nn.Module, drop_path: float, eps: float = 1e-6
    ) -> None:
        super().__init__()
        self.norm1 = nn.LayerNorm(embed_dims, eps=eps)
        self.attn = attention
        self.norm2 = nn.LayerNorm(embed_dims, eps=eps)
        self.mlp = mlp
        self.drop_path = DropPath(drop_path)

    def forward(self, x: torch.Tensor, grid: Grid) -> torch.Tensor:
        x = x + self.drop_path(self.attn(self.norm1(x), grid))
        return x + self.drop_path(self.mlp(self.norm2(x), grid))


class PatchEmbed(nn.Module):
    """Cut a map ``(B, C, H, W)`` into patches and embed each as a token: ``(B, ceil(H/p) * ceil(W/p), embed_dims)``.

    A side that the patch size does not divide is padded with zeros below and to the right, so that every pixel counts.

    Args:
        in_channels: Channels C.
        embed_dims: Channels of a token.
        patch_size: Stride p between patches, and their size.
        overlap: Patches of ``2p - 1`` that are centred, with zeros around the map, as in PVTv2.
    """

    def __init__(self, in_channels: int, embed_dims: int, patch_size: int, overlap: bool = False) -> None:
        super().__init__()
        self.multiple = 1 if overlap else patch_size
        kernel, padding = (2 * patch_size - 1, patch_size - 1) if overlap else (patch_size, 0)
        self.proj = nn.Conv2d(in_channels, embed_dims, kernel, patch_size, padding)
        self.norm = nn.LayerNorm(embed_dims)
        self.apply(init_weights)

    def forward(self, x: torch.Tensor) -> tuple[torch.Tensor, Grid]:
        x = self.proj(pad_to_multiple(x, self.multiple))
        return self.norm(map_to_tokens(x)), Grid.whole(*x.shape[2:])
