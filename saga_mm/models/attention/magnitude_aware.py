"""Magnitude-aware linear attention (MALA; Fan et al., ICCV 2025)."""

from collections.abc import Sequence
from typing import NamedTuple

import torch

from saga_mm.ops import KVState, merge_states, read_key, read_state, write_mean, write_state
from saga_mm.registry import MODELS

from .rotary import Projected, RotaryMixer


class MagnitudeState(NamedTuple):
    """Two additive states: of the keys with their values, and of the values alone."""

    pairs: KVState
    values: KVState


@MODELS.register_module(name=['MagnitudeAwareLinearAttention', 'mala'])
class MagnitudeAwareLinearAttention(RotaryMixer):
    """Linear attention whose weights grow sharper with the length of a query, behind RALA's output gate.

    With ``q`` and ``k`` after ``elu + 1``, the rotation R of 2-D RoPE, and ``z_i = q_i . mean_j(k_j) / sqrt(d)``::

        mixed_i = (1 + 1 / (z_i + eps)) mean_j((R q_i . R k_j) v_j) / sqrt(d) - z_i mean_j(v_j)
        out_i   = proj((mixed_i + DWC(v)_i) * gate(x_i))

    Nothing is divided by the sum of the weights: the subtraction makes them add up to 1 (up to R).
    Arguments as in :class:`RotaryMixer`.
    """

    feature_map = 'elu+1'

    @staticmethod
    def merge(states: Sequence[MagnitudeState]) -> MagnitudeState:
        return MagnitudeState(*(merge_states(parts) for parts in zip(*states, strict=True)))

    def write_projected(self, tokens: Projected, state: None) -> MagnitudeState:
        pairs = write_state(tokens.k, tokens.v, feature_map='identity', rotate=tokens.rotation)
        return MagnitudeState(pairs, write_mean(tokens.v))

    def read_projected(self, tokens: Projected, state: MagnitudeState) -> torch.Tensor:
        q, scale = tokens.q, self.head_dim**-0.5
        # without R, as published: what the weights of a row add up to before they are corrected
        z = scale * read_key(q, state.pairs, feature_map='identity')
        out = read_state(q, state.pairs, feature_map='identity', normalizer='none', rotate=tokens.rotation)
        return scale * out * (1 + 1 / (z + self.eps)) - z * state.values.key.unsqueeze(1)
