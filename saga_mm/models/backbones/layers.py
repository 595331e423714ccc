"""Parts that several hosts share."""

from collections.abc import Sequence
from typing import Any

import torch
from torch import nn

from saga_mm.models.attention import TokenMixer
from saga_mm.models.init import init_weights
from saga_mm.ops import (
    Grid,
    RowStep,
    add_feed_forward,
    captures_graph,
    compiles,
    crop_rows,
    grow_rows,
    map_to_tokens,
    norm_in_place,
    pad_to_multiple,
    plain_reason,
    round_up,
)

from .chunks import runs_in_pieces


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
    """Two linear layers with a GELU between, on tokens ``(B, N, C)``.

    Attributes:
        halo: Rows beyond a piece that its own rows depend on.
    """

    halo: int = 0

    def __init__(self, embed_dims: int, hidden_dims: int) -> None:
        super().__init__()
        self.fc1 = nn.Linear(embed_dims, hidden_dims)
        self.act = nn.GELU()
        self.fc2 = nn.Linear(hidden_dims, embed_dims)
        self.apply(init_weights)

    def forward(self, x: torch.Tensor, grid: Grid | None = None) -> torch.Tensor:
        return self.fc2(self.act(self.fc1(x)))

    @property
    def plain(self) -> bool:
        """Whether its layers are still those that it was built of, not adapted or quantised ones."""
        return [type(layer) for layer in (self.fc1, self.act, self.fc2)] == [nn.Linear, nn.GELU, nn.Linear]

    def add_to(self, x: torch.Tensor, norm: nn.LayerNorm) -> torch.Tensor:
        """``x + self(norm(x))`` without gradients, if it is :attr:`plain`; tokens ``(B, N, C)`` may be overwritten."""
        first, second = ((layer.weight, layer.bias) for layer in (self.fc1, self.fc2))
        x = x.contiguous()
        if captures_graph():
            torch.ops.saga_mm.feed_forward(x, norm.weight, norm.bias, norm.eps, *first, *second)
            return x
        return add_feed_forward(x, (norm.weight, norm.bias), norm.eps, first, second)


class MixerBlock(RowStep, nn.Module):
    """A block around a mixer ``attn`` behind ``norm1``, as a layer that runs in pieces of rows if need be.

    A host's block says how the mixer's answer joins the tokens, and what follows.
    """

    @property
    def feed_forward(self) -> nn.Module:
        """The part of :meth:`feed` that is widest and may look at neighbours: it has ``fc1`` and a ``halo``."""
        raise NotImplementedError

    def join(self, x: torch.Tensor, mixed: torch.Tensor) -> torch.Tensor:
        """Tokens after the attention, from those before it and the mixer's answer."""
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
        return round_up(self.attn.halo + self.feed_forward.halo, self.row_multiple)

    @property
    def floats(self) -> float:
        hidden, channels = self.feed_forward.fc1.out_features, self.feed_forward.fc1.in_features
        # before and after the activation, and around a convolution that wants its input in another order
        return max(self.attn.floats * channels, (4 if self.feed_forward.halo else 2) * hidden + 4 * channels)

    @property
    def state_floats(self) -> float:
        return self.attn.state_floats * self.norm1.weight.numel()

    def runs_in_slices(self, x: torch.Tensor) -> bool:
        """Whether nothing wide exists for more than a few tokens of ``x`` or of a map like it."""
        return False

    def write(self, x: torch.Tensor, grid: Grid, state: Any = None) -> Any:
        return self.attn.write(self.norm1(x), grid, state)

    def merge(self, states: Sequence[Any]) -> Any:
        return self.attn.merge(states)

    def attend(self, x: torch.Tensor, grid: Grid, state: Any, keep: Grid) -> torch.Tensor:
        """Tokens after the attention at the rows of ``keep``, from those before it at ``grid``."""
        mixed = crop_rows(self.attn.read(self.norm1(x), grid, state), grid, keep)
        return self.join(crop_rows(x, grid, keep), mixed)

    def read(self, x: torch.Tensor, grid: Grid, state: Any, keep: Grid) -> torch.Tensor:
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
        if self._feeds_in_slices(x):
            return self.mlp.add_to(x, self.norm2)
        return x + self.drop_path(self.mlp(self.norm2(x), grid))

    def forward(self, x: torch.Tensor, grid: Grid, own: bool = False) -> torch.Tensor:
        """Tokens after the block; ``own`` says that those before it may be overwritten."""
        if self._mixes_in_slices(x):
            return self.feed(self.attn.mix_slices(x if own else x.clone(), self.norm1, grid), grid)
        return super().forward(x, grid)

    def write(self, x: torch.Tensor, grid: Grid, state: Any = None) -> Any:
        return self.attn.write_slices(x, self.norm1) if self._mixes_in_slices(x) else super().write(x, grid, state)

    def attend(self, x: torch.Tensor, grid: Grid, state: Any, keep: Grid) -> torch.Tensor:
        if self._mixes_in_slices(x):
            return self.attn.add_slices(x, self.norm1, grid, state, keep)
        return super().attend(x, grid, state, keep)

    def runs_in_slices(self, x: torch.Tensor) -> bool:
        return self._mixes_in_slices(x) and self._feeds_in_slices(x)

    def _mixes_in_slices(self, x: torch.Tensor) -> bool:
        wide = x.dtype in (torch.float32, torch.float64)
        return self.attn.slices and wide and plain_reason(x) is not None and may_slice(self, x, self.norm1)

    def _feeds_in_slices(self, x: torch.Tensor) -> bool:
        return type(self.mlp) is FeedForward and self.mlp.plain and may_slice(self, x, self.norm2)


def may_slice(module: nn.Module, x: torch.Tensor, norm: nn.Module) -> bool:
    """Whether a module's norm and what follows it may run in slices: on a processor, and not in an exported graph."""
    if x.device.type != 'cpu' or torch.is_autocast_enabled('cpu') or type(norm) is not nn.LayerNorm:
        return False
    return (not captures_graph() or compiles()) and runs_in_pieces(module)


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
        slices = type(self.proj) is nn.Conv2d and may_slice(self, x, self.norm)
        if x.device.type == 'cpu' and (slices or not captures_graph()):
            # so the convolution makes tokens, not a map whose tokens are a copy
            x = x.contiguous(memory_format=torch.channels_last)
        x = self.proj(x)
        tokens, grid = map_to_tokens(x), Grid.whole(*x.shape[2:])
        if slices:
            norm = self.norm.weight, self.norm.bias, self.norm.eps
            if not captures_graph():
                return norm_in_place(tokens, *norm), grid
            tokens = tokens.contiguous()
            torch.ops.saga_mm.norm_in_place(tokens, *norm)
            return tokens, grid
        return self.norm(tokens), grid

    @property
    def reach(self) -> int:
        return self.proj.kernel_size[0] - self.stride

    @property
    def floats(self) -> float:
        """As of :class:`RowStep`, for each pixel of the map: its copies, and what the tokens are before their norm."""
        return 2 * self.proj.in_channels + 3 * self.proj.out_channels / self.stride**2
