"""Softmax attention over the whole map with 2-D RoPE, of the late stages of RAVLT."""

from collections.abc import Sequence

import torch
import torch.nn.functional as F

from saga_mm.registry import MODELS

from .rotary import Projected, RotaryMixer
from .softmax import KeysValues, SoftmaxAttention


@MODELS.register_module(name=['RopeSoftmaxAttention', 'rope_softmax'])
class RopeSoftmaxAttention(RotaryMixer):
    """``softmax(R q (R k)^T / sqrt(d)) v`` by PyTorch's fused kernel, then RALA's local branch and output gate.

    Arguments as in :class:`RotaryMixer`.
    """

    state_floats_per_channel = 2.0

    @staticmethod
    def merge(states: Sequence[KeysValues]) -> KeysValues:
        return SoftmaxAttention.merge(states)

    def write_projected(self, tokens: Projected, state: None) -> KeysValues:
        # rotated when they are written: a strip knows its own rows, and whoever reads does not
        return KeysValues(tokens.rotated(tokens.k).transpose(1, 2), tokens.v.transpose(1, 2))

    def read_projected(self, tokens: Projected, state: KeysValues) -> torch.Tensor:
        queries = tokens.rotated(tokens.q).transpose(1, 2)
        return F.scaled_dot_product_attention(queries, *state).transpose(1, 2)
