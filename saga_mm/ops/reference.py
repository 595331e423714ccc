"""The equation of gated linear attention written out, token pair by token pair: what the fast path is held against."""

import torch

from .feature_maps import FeatureMap, get_feature_map


def linear_attention_reference(
    q: torch.Tensor,
    k: torch.Tensor,
    v: torch.Tensor,
    key_gate: torch.Tensor | None = None,
    value_gate: torch.Tensor | None = None,
    *,
    feature_map: str | FeatureMap = 'relu',
    normalizer: str = 'plain',
    eps: float = 1e-6,
) -> torch.Tensor:
    """Same contract as :func:`saga_mm.ops.linear_attention`, through the ``M x N`` matrix of weights, in float64::

    o_i = sum_j (phi(q_i) . (a_j * phi(k_j))) (b_j * v_j)  /  (sum_j phi(q_i) . phi(k_j) + N eps)
    """
    phi = get_feature_map(feature_map)
    q, k, v = phi(q.double()), phi(k.double()), v.double()
    gated = k if key_gate is None else k * key_gate.double()
    v = v if value_gate is None else v * value_gate.double()
    weights = torch.einsum('bihd,bjhd->bhij', q, gated)
    out = torch.einsum('bhij,bjhd->bihd', weights, v)
    count = k.shape[1]
    if normalizer == 'none':
        return out / count
    seen = weights if normalizer == 'gated' else torch.einsum('bihd,bjhd->bhij', q, k)
    return out / (seen.sum(-1).transpose(1, 2).unsqueeze(-1) + count * eps)
