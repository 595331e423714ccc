"""SAGA: selective adaptive gating of the KV map (Cao and Wang, arXiv 2509.12817).

The paper's full text and code were not available to us. The gate is our reading of its abstract: every token's
contribution ``phi(k)^T v`` to the KV map is gated by an input-dependent outer product ``a^T b`` of sigmoids, which is
what a "Hadamard-product decomposition" without additional memory can mean. What the abstract leaves open is an option.
"""

from typing import Any

import torch

from saga_mm.ops import Gates, KVState, merge_states, plain_reason, write_state
from saga_mm.registry import MODELS

from .gates import GateOptions, OuterProductGates
from .linear import LinearAttention


@MODELS.register_module(name=['SAGAAttention', 'saga'])
class SAGAAttention(LinearAttention):
    """Gated linear attention over a whole map, with a local branch on the values.

    ``o_i = phi(q_i) S / (phi(q_i) . z + eps) + DWC(v)_i`` with
    ``S = mean_j (a_j * phi(k_j))^T (b_j * v_j)`` and ``z = mean_j phi(k_j)``.

    Args:
        embed_dims: Channels C.
        num_heads: Heads; must divide C.
        gates: Which sides are gated: ``'both'``, ``'key'``, ``'value'`` or ``'none'``.
        gate_act: ``'sigmoid'``, ``'1+tanh'``, ``'silu'`` or ``'identity'`` (gates off).
        gate_source: What the gates are computed from: ``'input'``, ``'low_rank'`` or ``'kv'``.
        gate_hidden: Inner width of ``gate_source='low_rank'``.
        gate_rank: Outer products in a token's gate (their mean is taken); each costs one more pass.
        gate_shared: One gate for all heads.
        gate_bias: Initial bias of the gates.
        local_kernel: Size of the depthwise convolution on v, or 0 for none.
        options: Other arguments of :class:`LinearAttention`: ``qkv_bias``, ``feature_map``, ``normalizer``,
            ``local_shared``, ``sr_ratio``, ``key_table``, ``eps`` and ``init_cfg``.

    Raises:
        ValueError: If an option is unknown or ``num_heads`` does not divide ``embed_dims``.
    """

    def __init__(
        self,
        embed_dims: int,
        num_heads: int,
        gates: str = 'both',
        gate_act: str = 'sigmoid',
        gate_source: str = 'input',
        gate_hidden: int = 16,
        gate_rank: int = 1,
        gate_shared: bool = False,
        gate_bias: float = 2.0,
        local_kernel: int = 3,
        **options: Any,
    ) -> None:
        super().__init__(embed_dims, num_heads, local_kernel=local_kernel, **options)
        # two gates of each term, before and after their activation, beside keys and values
        self.peak_floats_per_channel = 4.0 * max(gate_rank, 2) + 4
        # after the others, so that their bias stays as given
        gate_options = GateOptions(gates, gate_act, gate_source, gate_hidden, gate_rank, gate_shared, gate_bias)
        self.gates = OuterProductGates(embed_dims, num_heads, gate_options)

    def write_heads(self, source: torch.Tensor, keys: torch.Tensor, values: torch.Tensor) -> KVState:
        k, v = self.heads(keys), self.heads(values)
        # the kernels take logits and apply the sigmoid themselves, which saves a pass over the gates
        logits = self.gates.act is torch.sigmoid and plain_reason(k) is None
        act = 'sigmoid' if logits else 'identity'
        pairs = self.gates(source, keys, values, logits)
        terms = [write_state(k, v, Gates(a, b, act=act), **self.op) for a, b in pairs]
        # terms are means over the same tokens: merged, they give the mean of the terms, and count tokens once for each
        return merge_states(terms)._replace(count=k.shape[1]) if len(terms) > 1 else terms[0]
