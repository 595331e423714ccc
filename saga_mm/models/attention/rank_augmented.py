"""Rank-augmented linear attention (RALA; Fan et al., CVPR 2025)."""

from collections.abc import Sequence

import torch

from saga_mm.ops import Gates, KVState, merge_states, read_key, read_state, write_mean, write_state
from saga_mm.registry import MODELS

from .rotary import Projected, RotaryMixer


@MODELS.register_module(name=['RankAugmentedLinearAttention', 'rala'])
class RankAugmentedLinearAttention(RotaryMixer):
    """Linear attention to tokens weighed by how well they fit the mean query, behind an output gate.

    With ``q`` and ``k`` after ``elu + 1``, the rotation R of 2-D RoPE, and the weights
    ``alpha = softmax_j(mean_i(q_i) . k_j / sqrt(d))`` over all tokens::

        mixed_i = sum_j alpha_j (R q_i . R k_j) v_j / (sum_j alpha_j q_i . k_j + eps)
        out_i   = proj((mixed_i + DWC(v)_i) * gate(x_i))

    This is the published code's arithmetic; the paper's text leaves the denominator out. The published factor N of
    the weights, beyond the range of float16 for large maps, cancels: a weighted mean needs none.

    The mean query needs a sweep of its own over all tokens. Arguments as in :class:`RotaryMixer`.
    """

    feature_map = 'elu+1'
    sweeps = 2

    @staticmethod
    def merge(states: Sequence[KVState]) -> KVState:
        return merge_states(states)

    def write_projected(self, tokens: Projected, state: KVState | None) -> KVState:
        # the first sweep: a mean adds up over strips as a state does
        if state is None:
            return write_mean(tokens.q)
        scores = read_key(tokens.k, state, feature_map='identity').squeeze(-1) * self.head_dim**-0.5
        # logarithms: in a strip, weights are known up to the total of all tokens, and their exponentials may overflow
        weights = Gates(log_weights=scores)
        return write_state(tokens.k, tokens.v, weights, feature_map='identity', rotate=tokens.rotation)

    def read_projected(self, tokens: Projected, state: KVState) -> torch.Tensor:
        return read_state(tokens.q, state, feature_map='identity', rotate=tokens.rotation, eps=self.eps)
