"""What the token mixers are measured against: softmax as published and as mmdet ships it, FLatten and RALA written out.

Each has the parameters of the package's own mixer and the same numbers, so either loads the other's weights. They are
for benchmarks alone and not registered: pass the class as ``attention=``.
"""

from collections.abc import Sequence
from typing import Any

import torch
import torch.nn.functional as F

from saga_mm.models.attention import FocusedLinearAttention, RankAugmentedLinearAttention, SoftmaxAttention
from saga_mm.models.attention.softmax import KeysValues
from saga_mm.ops import Grid, map_to_tokens, pad_to_multiple, resize_table, rotation_2d, tokens_to_map


class NaiveSoftmaxAttention(SoftmaxAttention):
    """Softmax attention whose N x M map exists, as PVT was published."""

    def read(self, x: torch.Tensor, grid: Grid, state: KeysValues) -> torch.Tensor:
        weights = (self._heads(self.q(x)) @ state.keys.transpose(-2, -1)) * self.head_dim**-0.5
        weights = weights.softmax(dim=-1)
        return self.proj((weights @ state.values).transpose(1, 2).flatten(2))


class MultiheadSoftmaxAttention(SoftmaxAttention):
    """Softmax attention as ``nn.MultiheadAttention`` runs it by default, which is how mmdet ships PVT.

    The default asks for the weights, so the map exists, and its mean over the heads is made and dropped. Its state is
    the shortened tokens; keys and values are projected where they are read.
    """

    def write(self, x: torch.Tensor, grid: Grid, state: None = None) -> torch.Tensor:
        if self.sr_ratio == 1:
            return x
        return self.norm(map_to_tokens(self.sr(pad_to_multiple(tokens_to_map(x, grid), self.sr_ratio))))

    @staticmethod
    def merge(states: Sequence[torch.Tensor]) -> torch.Tensor:
        return torch.cat(list(states), dim=1)

    def read(self, x: torch.Tensor, grid: Grid, state: torch.Tensor) -> torch.Tensor:
        queries, keys = x.transpose(0, 1), state.transpose(0, 1)
        biases = None if self.q.bias is None else torch.cat([self.q.bias, self.kv.bias])
        out, _ = F.multi_head_attention_forward(
            queries,
            keys,
            keys,
            embed_dim_to_check=queries.shape[-1],
            num_heads=self.num_heads,
            in_proj_weight=torch.cat([self.q.weight, self.kv.weight]),
            in_proj_bias=biases,
            bias_k=None,
            bias_v=None,
            add_zero_attn=False,
            dropout_p=0.0,
            out_proj_weight=self.proj.weight,
            out_proj_bias=self.proj.bias,
            training=self.training,
        )
        return out.transpose(0, 1)


class _Transcribed:
    """A mixer for whole maps alone, as the published code is."""

    def write(self, x: torch.Tensor, grid: Grid, state: Any = None) -> Any:
        raise NotImplementedError(f'{type(self).__name__} runs whole maps alone')

    read = write


class FocusedTranscribed(_Transcribed, FocusedLinearAttention):
    """Focused linear attention, equation by equation in PyTorch, without anything done for speed.

    ``phi(x) = |y| y^p / |y^p|`` of ``y = (relu(x) + 1e-6) / softplus(scale)``, heads after that, and then
    ``q (k^T v / N) / (q . mean(k) + eps) + DWC(v)``. Keys are not shortened.
    """

    def forward(self, x: torch.Tensor, grid: Grid) -> torch.Tensor:
        batch, tokens, channels = x.shape
        q = self.q(x)
        k, v = self.kv(x).chunk(2, dim=-1)
        if self.table_size:
            k = k + resize_table(self.key_table, self.table_size, grid)
        q, k, v = (self._split(t) for t in (self._focus(q), self._focus(k), v))
        z = 1 / (q @ k.mean(dim=-2, keepdim=True).transpose(-2, -1) + self.eps)
        state = (k.transpose(-2, -1) * tokens**-0.5) @ (v * tokens**-0.5)
        out = (q @ state * z).transpose(1, 2).reshape(batch, tokens, channels)
        if self.local is not None:
            plane = v.transpose(-2, -1).reshape(batch * self.num_heads, self.head_dim, grid.height, grid.width)
            out = out + self.local(plane).reshape(batch, channels, tokens).transpose(1, 2)
        return self.proj(out)

    def _focus(self, x: torch.Tensor) -> torch.Tensor:
        x = (F.relu(x) + 1e-6) / F.softplus(self.scale)
        sharp = x**self.focusing_factor
        return sharp / sharp.norm(dim=-1, keepdim=True) * x.norm(dim=-1, keepdim=True)

    def _split(self, x: torch.Tensor) -> torch.Tensor:
        return x.unflatten(-1, (self.num_heads, self.head_dim)).transpose(1, 2)


class RankAugmentedTranscribed(_Transcribed, RankAugmentedLinearAttention):
    """Rank-augmented linear attention, equation by equation in PyTorch, without anything done for speed.

    Keys after ``elu + 1`` are multiplied by ``alpha N``, ``alpha = softmax_j(mean_i(q_i) . k_j / sqrt(d))``, and turned
    by RoPE, as the queries are; the normaliser sees neither turned. Local branch and gate as published.
    """

    def forward(self, x: torch.Tensor, grid: Grid) -> torch.Tensor:
        batch, tokens, channels = x.shape
        q, (k, v), gate = self.q(x), self.kv(x).chunk(2, dim=-1), self.gate(x)
        local = self.lepe(v.transpose(1, 2).reshape(batch, channels, grid.height, grid.width))
        q, k, v = (t.unflatten(-1, (self.num_heads, self.head_dim)).transpose(1, 2) for t in (q, k, v))
        q, k = F.elu(q) + 1, F.elu(k) + 1
        scores = q.mean(dim=-2, keepdim=True) @ k.transpose(-2, -1) * self.head_dim**-0.5
        k = k * scores.softmax(dim=-1).transpose(-2, -1) * tokens
        z = 1 / (q @ k.mean(dim=-2, keepdim=True).transpose(-2, -1) + self.eps)
        rotation = rotation_2d(grid, self.head_dim, x)
        cos, sin = (t.squeeze(1).repeat_interleave(2, dim=-1) for t in rotation)
        q, k = (t * cos + self._rotate(t) * sin for t in (q, k))
        state = (k.transpose(-2, -1) * tokens**-0.5) @ (v * tokens**-0.5)
        mixed = (q @ state * z).transpose(1, 2).reshape(batch, tokens, channels)
        return self.proj((mixed + map_to_tokens(local)) * gate)

    @staticmethod
    def _rotate(x: torch.Tensor) -> torch.Tensor:
        """Pairs of channels ``(a, b)`` as ``(-b, a)``."""
        return torch.stack((-x[..., 1::2], x[..., ::2]), dim=-1).flatten(-2)
