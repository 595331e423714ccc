"""Both steps of linear attention in slices, one after the other over the tokens of a whole map, for inference.

To ``torch.compile`` ``torch.ops.saga_mm.mix_tokens`` is one node, which a loop would not be.
"""

import torch

from .grid import Grid
from .products import Layer, Norm
from .sliced_attention import Gates, Kept, add_read_in_slices, write_in_slices


def mix_in_slices(
    x: torch.Tensor,
    norm: Norm,
    key_value: Layer,
    gates: Gates | None,
    query: Layer,
    local: Layer | None,
    proj: Layer,
    heads: int,
    height: int,
    width: int,
    *,
    feature_map: str = 'relu',
    normalizer: str = 'plain',
    eps: float = 1e-6,
) -> torch.Tensor:
    """Both steps in a row, written over the tokens of a whole map: :func:`write_in_slices`, :func:`add_read_in_slices`.

    Values and moments are kept between the steps: the memory that a second map would take, which is not there for it.

    Args:
        x: Tokens ``(B, height * width, C)``, contiguous.
        norm: This and all others as for the two steps.

    Returns:
        ``x``.
    """
    grid, names = Grid.whole(height, width), {'feature_map': feature_map}
    kept = Kept.empty(x[:1], values=local is not None)
    for image in x.split(1):
        state = write_in_slices(image, norm, key_value, gates, heads, **names, normalizer=normalizer, kept=kept)
        add_read_in_slices(image, norm, state[:2], query, kept, local, proj, grid, grid, **names, eps=eps, out=image)
    return x


@torch.library.custom_op('saga_mm::mix_tokens', mutates_args=('x',))
def mix_tokens(
    x: torch.Tensor,
    scale: torch.Tensor,
    shift: torch.Tensor,
    norm_eps: float,
    kv_weight: torch.Tensor,
    kv_bias: torch.Tensor | None,
    gate_weight: torch.Tensor | None,
    gate_bias: torch.Tensor | None,
    gate_down: torch.Tensor | None,
    query_weight: torch.Tensor,
    query_bias: torch.Tensor | None,
    local_weight: torch.Tensor | None,
    local_bias: torch.Tensor | None,
    proj_weight: torch.Tensor,
    proj_bias: torch.Tensor | None,
    heads: int,
    height: int,
    width: int,
    feature_map: str,
    normalizer: str,
    eps: float,
) -> None:
    gates = None if gate_weight is None else (gate_weight, gate_bias, gate_down)
    local = None if local_weight is None else (local_weight, local_bias)
    pair, query, proj = (kv_weight, kv_bias), (query_weight, query_bias), (proj_weight, proj_bias)
    options = {'feature_map': feature_map, 'normalizer': normalizer, 'eps': eps}
    mix_in_slices(x, (scale, shift, norm_eps), pair, gates, query, local, proj, heads, height, width, **options)


@mix_tokens.register_fake
def _(x, *args):
    pass
