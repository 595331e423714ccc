"""SAGA: selective adaptive gating of the KV map (Cao and Wang, arXiv 2509.12817).

The paper's full text and code were not available to us. The gate is our reading of its abstract: every token's
contribution ``phi(k)^T v`` to the KV map is gated by an input-dependent outer product ``a^T b`` of sigmoids, which is
what a "Hadamard-product decomposition" without additional memory can mean. What the abstract leaves open is an option.
"""

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import nn

from saga_mm.models.init import init_weights
from saga_mm.ops import (
    Grid,
    KVState,
    map_to_tokens,
    merge_states,
    pad_to_multiple,
    read_state,
    resize_table,
    tokens_to_map,
    write_state,
)
from saga_mm.registry import MODELS

from .base import TokenMixer
from .gates import OuterProductGates


@MODELS.register_module(name=['SAGAAttention', 'saga'])
class SAGAAttention(TokenMixer):
    """Gated linear attention over a whole map, with a local branch on the values.

    ``o_i = phi(q_i) S / (phi(q_i) . z + eps) + DWC(v)_i`` with
    ``S = mean_j (a_j * phi(k_j))^T (b_j * v_j)`` and ``z = mean_j phi(k_j)``.

    Args:
        embed_dims: Channels C.
        num_heads: Heads; must divide C.
        qkv_bias: Biases in the projections of q, k and v.
        gates: Which sides are gated: ``'both'``, ``'key'``, ``'value'`` or ``'none'``.
        gate_act: ``'sigmoid'``, ``'1+tanh'``, ``'silu'``, ``'exp(-softplus)'`` or ``'identity'`` (gates off).
        gate_source: What the gates are computed from: ``'input'``, ``'low_rank'`` or ``'kv'``.
        gate_hidden: Inner width of ``gate_source='low_rank'``.
        gate_rank: Outer products in a token's gate (their mean is taken); each costs one more pass.
        gate_shared: One gate for all heads.
        gate_bias: Initial bias of the gates.
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

    def __init__(
        self,
        embed_dims: int,
        num_heads: int,
        qkv_bias: bool = True,
        gates: str = 'both',
        gate_act: str = 'sigmoid',
        gate_source: str = 'input',
        gate_hidden: int = 16,
        gate_rank: int = 1,
        gate_shared: bool = False,
        gate_bias: float = 2.0,
        feature_map: str = 'relu',
        normalizer: str = 'plain',
        local_kernel: int = 3,
        local_shared: bool = False,
        sr_ratio: int = 1,
        key_table: tuple[int, int] | None = None,
        eps: float = 1e-6,
        init_cfg: dict | None = None,
    ) -> None:
        super().__init__(init_cfg)
        if embed_dims % num_heads:
            raise ValueError(f'num_heads={num_heads} does not divide embed_dims={embed_dims}')
        if local_kernel and local_kernel % 2 == 0:
            raise ValueError(f'local_kernel must be odd, or 0 for none, got {local_kernel}')
        self.num_heads, self.head_dim = num_heads, embed_dims // num_heads
        self.op = {'feature_map': feature_map, 'normalizer': normalizer}
        self.eps = eps
        self.q = nn.Linear(embed_dims, embed_dims, bias=qkv_bias)
        self.kv = nn.Linear(embed_dims, 2 * embed_dims, bias=qkv_bias)
        self.proj = nn.Linear(embed_dims, embed_dims)
        self.head_norm = nn.LayerNorm(self.head_dim) if normalizer == 'none' else None
        self.local = None
        if local_kernel:
            channels = self.head_dim if local_shared else embed_dims
            self.local = nn.Conv2d(channels, channels, local_kernel, padding=local_kernel // 2, groups=channels)
            self.halo = local_kernel // 2
        self.sr_ratio = sr_ratio
        if sr_ratio > 1:
            self.sr = nn.Conv2d(embed_dims, embed_dims, sr_ratio, sr_ratio)
            self.norm = nn.LayerNorm(embed_dims)
            self.halo = sr_ratio * (local_kernel // 2 + 1) if local_kernel else 0
        self.table_size = tuple(key_table) if key_table else None
        if self.table_size:
            self.key_table = nn.Parameter(torch.zeros(1, self.table_size[0] * self.table_size[1], embed_dims))
        self.apply(init_weights)
        # after the others, so that their bias stays as given
        self.gates = OuterProductGates(
            embed_dims, num_heads, gates, gate_act, gate_source, gate_hidden, gate_rank, gate_shared, gate_bias
        )
        # unknown names fail here, not at the first image
        write_state(torch.zeros(1, 1, num_heads, self.head_dim), torch.zeros(1, 1, num_heads, self.head_dim), **self.op)

    def write(self, x: torch.Tensor, grid: Grid, state: None = None) -> KVState:
        return self._write(*self._keys_values(x, grid))

    @staticmethod
    def merge(states: Sequence[KVState]) -> KVState:
        return merge_states(states)

    def read(self, x: torch.Tensor, grid: Grid, state: KVState) -> torch.Tensor:
        values = self._keys_values(x, grid)[2] if self.local is not None else None
        return self._read(x, grid, state, values)

    def forward(self, x: torch.Tensor, grid: Grid) -> torch.Tensor:
        source, keys, values = self._keys_values(x, grid)
        return self._read(x, grid, self._write(source, keys, values), values)

    def _keys_values(self, x: torch.Tensor, grid: Grid) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        if self.sr_ratio > 1:
            plane = self.sr(pad_to_multiple(tokens_to_map(x, grid), self.sr_ratio))
            x = self.norm(map_to_tokens(plane))
            grid = self._coarse(grid)
        keys, values = self.kv(x).chunk(2, dim=-1)
        if self.table_size:
            keys = keys + resize_table(self.key_table, self.table_size, grid)
        return x, keys, values

    def _write(self, source: torch.Tensor, keys: torch.Tensor, values: torch.Tensor) -> KVState:
        k, v = self._heads(keys), self._heads(values)
        terms = [write_state(k, v, *gates, **self.op) for gates in self.gates(source, keys, values)]
        return merge_states(terms)._replace(count=k.shape[1]) if len(terms) > 1 else terms[0]

    def _read(self, x: torch.Tensor, grid: Grid, state: KVState, values: torch.Tensor | None) -> torch.Tensor:
        out = read_state(self._heads(self.q(x)), state, **self.op, eps=self.eps)
        if self.head_norm is not None:
            out = self.head_norm(out)
        out = out.flatten(2)
        if self.local is not None:
            out = out + self._local(values, grid)
        return self.proj(out)

    def _local(self, values: torch.Tensor, grid: Grid) -> torch.Tensor:
        if self.sr_ratio > 1:
            coarse = tokens_to_map(values, self._coarse(grid))
            plane = F.interpolate(coarse, scale_factor=self.sr_ratio, mode='bilinear', align_corners=False)
            plane = plane[:, :, : grid.rows, : grid.width]
        else:
            plane = tokens_to_map(values, grid)
        if self.local.groups == self.head_dim:
            heads = plane.unflatten(1, (self.num_heads, self.head_dim)).flatten(0, 1)
            mixed = self.local(heads).unflatten(0, (-1, self.num_heads)).flatten(1, 2)
        else:
            mixed = self.local(plane)
        return map_to_tokens(mixed)

    def _coarse(self, grid: Grid) -> Grid:
        return Grid(*(-(-side // self.sr_ratio) for side in grid))

    def _heads(self, x: torch.Tensor) -> torch.Tensor:
        return x.unflatten(-1, (self.num_heads, self.head_dim))
