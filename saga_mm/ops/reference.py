"""The equation of gated linear attention, token pair by token pair. The fast path is tested against it."""

from collections.abc import Callable

import torch

from .feature_maps import FeatureMap, get_feature_map
from .linear_attention import OPEN, Gates


def linear_attention_reference(
    q: torch.Tensor,
    k: torch.Tensor,
    v: torch.Tensor,
    gates: Gates = OPEN,
    *,
    feature_map: str | FeatureMap = 'relu',
    normalizer: str = 'plain',
    rotate: Callable[[torch.Tensor], torch.Tensor] | None = None,
    eps: float = 1e-6,
) -> torch.Tensor:
    """Same contract as :func:`saga_mm.ops.linear_attention`, through the ``M x N`` matrix of weights, in float64:

    o_i = sum_j w_j (R phi(q_i) . R (a_j * phi(k_j))) (b_j * v_j)  /  (sum_j w_j phi(q_i) . phi(k_j) + eps)

    with ``w_j`` the softmax of ``log_weights`` over the tokens, or ``1 / N``, and ``R`` the rotation.
    """
    phi = get_feature_map(feature_map)
    q, k, v = phi(q.double()), phi(k.double()), v.double()
    act = torch.sigmoid if gates.act == 'sigmoid' else torch.Tensor.double
    gated = k if gates.key is None else k * act(gates.key.double())
    v = v if gates.value is None else v * act(gates.value.double())
    logs = k.new_zeros(k.shape[:3]) if gates.log_weights is None else gates.log_weights.double()
    share = logs.softmax(dim=1).transpose(1, 2).unsqueeze(2)
    turn = rotate or (lambda x: x)
    weights = share * torch.einsum('bihd,bjhd->bhij', turn(q), turn(gated))
    out = torch.einsum('bhij,bjhd->bihd', weights, v)
    if normalizer == 'none':
        return out
    seen = share * torch.einsum('bihd,bjhd->bhij', q, gated if normalizer == 'gated' else k)
    return out / (seen.sum(-1).transpose(1, 2).unsqueeze(-1) + eps)
