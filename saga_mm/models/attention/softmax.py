"""Softmax attention with PVT's spatial reduction (Wang et al., ICCV 2021): the baseline."""

from collections.abc import Sequence
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import nn

from saga_mm.models.init import init_weights
from saga_mm.ops import Grid, map_to_tokens, pad_to_multiple, tokens_to_map
from saga_mm.registry import MODELS

from .token_mixer import TokenMixer, project_parts


class KeysValues(NamedTuple):
    """The state of softmax attention is its keys and values, ``(B, heads, N, d)`` each."""

    keys: torch.Tensor
    values: torch.Tensor


@MODELS.register_module(name=['SoftmaxAttention', 'softmax'])
class SoftmaxAttention(TokenMixer):
    """``softmax(q k^T / sqrt(d)) v`` by PyTorch's fused kernel, keys and values from a map ``sr_ratio`` times smaller.

    Args:
        embed_dims: Channels C.
        num_heads: Heads; must divide C.
        qkv_bias: Biases in the projections of q, k and v.
        sr_ratio: Stride of the convolution that shortens keys and values; 1 for none. A side that it does not divide
            is padded with zeros, so that no token is dropped.
        init_cfg: Initialisation config of mmengine.

    Raises:
        ValueError: If ``num_heads`` does not divide ``embed_dims``.
    """

    takes = frozenset({'qkv_bias', 'sr_ratio'})
    takes_class_token = True

    def __init__(
        self,
        embed_dims: int,
        num_heads: int,
        qkv_bias: bool = True,
        sr_ratio: int = 1,
        init_cfg: dict | None = None,
    ) -> None:
        super().__init__(init_cfg)
        self.add_projections(embed_dims, num_heads, qkv_bias)
        # a strip that cut a cell of the convolution would write another key than the whole map
        self.sr_ratio = self.row_multiple = sr_ratio
        # a key and a value of each cell
        self.state_floats_per_channel = 2 / sr_ratio**2
        if sr_ratio > 1:
            self.sr = nn.Conv2d(embed_dims, embed_dims, sr_ratio, sr_ratio)
            self.norm = nn.LayerNorm(embed_dims)
        self.apply(init_weights)

    def write(self, x: torch.Tensor, grid: Grid | None, state: None = None) -> KeysValues:
        if self.sr_ratio > 1 and grid is not None:
            plane = self.sr(pad_to_multiple(tokens_to_map(x, grid), self.sr_ratio))
            x = self.norm(map_to_tokens(plane))
        keys, values = project_parts(self.kv, x, 2)
        return KeysValues(self._heads(keys), self._heads(values))

    @staticmethod
    def merge(states: Sequence[KeysValues]) -> KeysValues:
        # in any order: a softmax is a sum over keys
        return KeysValues(*(torch.cat(parts, dim=2) for parts in zip(*states, strict=True)))

    def read(self, x: torch.Tensor, grid: Grid | None, state: KeysValues) -> torch.Tensor:
        out = F.scaled_dot_product_attention(self._heads(self.q(x)), *state)
        return self.proj(out.transpose(1, 2).flatten(2))

    def _heads(self, x: torch.Tensor) -> torch.Tensor:
        return x.unflatten(-1, (self.num_heads, self.head_dim)).transpose(1, 2)
