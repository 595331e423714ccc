"""Plain linear attention (Katharopoulos et al., ICML 2020), the base of attentions with an additive state."""

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import nn

from saga_mm.models.init import init_weights
from saga_mm.models.watched import is_plain
from saga_mm.ops import (
    FeatureMap,
    Grid,
    KVState,
    ceil_div,
    get_feature_map,
    map_to_tokens,
    merge_states,
    pad_to_multiple,
    read_state,
    resize_table,
    tokens_to_map,
    write_state,
)
from saga_mm.ops.carrying import carried
from saga_mm.registry import MODELS

from .token_mixer import TokenMixer, project_parts, project_values


@MODELS.register_module(name=['LinearAttention', 'linear'])
class LinearAttention(TokenMixer):
    """Linear attention over a whole map, with an optional local branch on the values.

    ``o_i = phi(q_i) S / (phi(q_i) . z + eps) [+ DWC(v)_i]`` with ``S = mean_j phi(k_j)^T v_j`` and
    ``z = mean_j phi(k_j)``. Attentions with this state derive from it and override :meth:`phi` or :meth:`write_heads`.

    Args:
        embed_dims: Channels C.
        num_heads: Heads; must divide C.
        qkv_bias: Biases in the projections of q, k and v.
        feature_map: ``'relu'``, ``'elu+1'``, ``'focused'`` or a callable.
        normalizer: ``'plain'`` (ungated keys), ``'gated'``, or ``'none'`` (a LayerNorm on each head's output instead).
        local_kernel: Size of the depthwise convolution on v, or 0 for none.
        local_shared: One ``head_dim`` kernel for all heads instead of one for each channel.
        sr_ratio: Shorten keys and values by a strided convolution, as PVT does; 1 keeps every token.
        key_table: ``(h, w)`` of a learned position table added to the keys and resized to fit, or None.
        eps: Added to the denominator.
        init_cfg: Initialisation config of mmengine.

    Raises:
        ValueError: If an option is unknown or ``num_heads`` does not divide ``embed_dims``.
    """

    takes_class_token = True

    def __init__(
        self,
        embed_dims: int,
        num_heads: int,
        qkv_bias: bool = True,
        feature_map: str | FeatureMap = 'relu',
        normalizer: str = 'plain',
        local_kernel: int = 0,
        local_shared: bool = False,
        sr_ratio: int = 1,
        key_table: tuple[int, int] | None = None,
        eps: float = 1e-6,
        init_cfg: dict | None = None,
    ) -> None:
        super().__init__(init_cfg)
        self.feature_map = feature_map
        self.normalizer = normalizer
        self.eps = eps
        self.add_projections(embed_dims, num_heads, qkv_bias)
        self.head_norm = nn.LayerNorm(self.head_dim) if normalizer == 'none' else None
        self.local = self.depthwise('local_kernel', local_kernel, self.head_dim if local_shared else embed_dims)
        self.sr_ratio = sr_ratio
        if sr_ratio > 1:
            self.sr = nn.Conv2d(embed_dims, embed_dims, sr_ratio, sr_ratio)
            self.norm = nn.LayerNorm(embed_dims)
        self.table_size = tuple(key_table) if key_table else None
        if self.table_size:
            self.key_table = nn.Parameter(torch.zeros(1, self.table_size[0] * self.table_size[1], embed_dims))
        self.apply(init_weights)
        # unknown names fail here, not at the first image; on a real device, where the model may be built without memory
        token = torch.zeros(1, 1, 1, 2, device='cpu')
        write_state(token, token, feature_map=feature_map, normalizer=normalizer)

    @staticmethod
    def depthwise(option: str, kernel: int, channels: int) -> nn.Conv2d | None:
        """A depthwise convolution that keeps the size, or None if ``kernel`` is 0."""
        if kernel and kernel % 2 == 0:
            raise ValueError(f'{option} must be odd, or 0 for none, got {kernel}')
        return nn.Conv2d(channels, channels, kernel, padding=kernel // 2, groups=channels) if kernel else None

    @property
    def branches(self) -> list[nn.Conv2d]:
        """Convolutions of the values whose sum is added to what the state answers."""
        return [] if self.local is None else [self.local]

    @property
    def halo(self) -> int:
        reach = max((conv.kernel_size[0] // 2 for conv in self.branches), default=0)
        # one coarse row more: enlarging blends each with its neighbours
        return reach if self.sr_ratio == 1 or not self.branches else self.sr_ratio * (reach + 1)

    @property
    def row_multiple(self) -> int:
        return self.sr_ratio

    def phi(self, x: torch.Tensor) -> torch.Tensor:
        """The feature map of queries and keys ``(B, N, heads, d)``."""
        return get_feature_map(self.feature_map)(x)

    def write_heads(self, source: torch.Tensor, keys: torch.Tensor, values: torch.Tensor) -> KVState:
        """State of keys and values, and of the tokens that they came from, ``(B, N, C)`` each."""
        return write_state(self.heads(keys), self.heads(values), **self.op)

    def write(self, x: torch.Tensor, grid: Grid | None, state: None = None) -> KVState:
        return self.write_heads(*self._keys_values(x, grid))

    @staticmethod
    def merge(states: Sequence[KVState]) -> KVState:
        return merge_states(states)

    def read(self, x: torch.Tensor, grid: Grid | None, state: KVState) -> torch.Tensor:
        # values are projected once more where they are not at hand: to keep them would take as much as the map
        local = self.branches and grid is not None
        values = project_values(self.kv, self._shortened(x, grid)) if local else None
        return self._read(x, grid, state, values)

    def forward(self, x: torch.Tensor, grid: Grid) -> torch.Tensor:
        source, keys, values = self._keys_values(x, grid)
        # values go from the write to the local branch: one product less than write and read by themselves
        return self._read(x, grid, carried(self.write_heads(source, keys, values)), values)

    @property
    def op(self) -> dict:
        """Options of the operations on the state."""
        # by its name if it has one: so kernels know it
        named = type(self).phi is LinearAttention.phi
        return {'feature_map': self.feature_map if named else self.phi, 'normalizer': self.normalizer}

    def _shortened(self, x: torch.Tensor, grid: Grid | None) -> torch.Tensor:
        if self.sr_ratio == 1 or grid is None:
            return x
        return self.norm(map_to_tokens(self.sr(pad_to_multiple(tokens_to_map(x, grid), self.sr_ratio))))

    def _keys_values(self, x: torch.Tensor, grid: Grid | None) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        x = self._shortened(x, grid)
        keys, values = project_parts(self.kv, x, 2)
        if self.table_size and grid is not None:
            # before the feature map: a key's place is part of its logits
            keys = keys + resize_table(self.key_table, self.table_size, self._coarse(grid))
        return x, keys, values

    def _read(self, x: torch.Tensor, grid: Grid, state: KVState, values: torch.Tensor | None) -> torch.Tensor:
        out = read_state(self.heads(self.q(x)), state, **self.op, eps=self.eps)
        if self.head_norm is not None:
            # without a normaliser, answers grow with the keys: a norm takes its place
            out = self.head_norm(out)
        out = out.flatten(2)
        return self.proj(out + self._local(values, grid) if self.branches and grid is not None else out)

    def _local(self, values: torch.Tensor, grid: Grid) -> torch.Tensor:
        if self.sr_ratio > 1:
            coarse = tokens_to_map(values, self._coarse(grid))
            plane = F.interpolate(coarse, scale_factor=self.sr_ratio, mode='bilinear', align_corners=False)
            # the coarse map was padded: what lies beyond the map is cut off
            plane = plane[:, :, : grid.rows, : grid.width]
        else:
            plane = tokens_to_map(values, grid)
        return map_to_tokens(sum(self._convolve(conv, plane) for conv in self.branches))

    def _convolve(self, conv: nn.Conv2d, plane: torch.Tensor) -> torch.Tensor:
        if conv.groups == plane.shape[1]:
            return conv(plane)
        # one kernel for all heads
        if is_plain(conv, nn.Conv2d):
            # a map of all channels stays as it lies; the heads as maps of a batch would be copied there and back
            weight, bias = conv.weight.repeat(self.num_heads, 1, 1, 1), conv.bias.repeat(self.num_heads)
            return F.conv2d(plane, weight, bias, padding=conv.padding, groups=plane.shape[1])
        heads = plane.unflatten(1, (self.num_heads, self.head_dim)).flatten(0, 1)
        return conv(heads).unflatten(0, (-1, self.num_heads)).flatten(1, 2)

    def _coarse(self, grid: Grid) -> Grid:
        return Grid(*(ceil_div(side, self.sr_ratio) for side in grid))
