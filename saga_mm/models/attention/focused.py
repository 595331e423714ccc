"""Focused linear attention (FLatten; Han et al., ICCV 2023)."""

import torch
import torch.nn.functional as F
from torch import nn

from saga_mm.models.init import init_weights
from saga_mm.ops import focused
from saga_mm.registry import MODELS

from .linear import LinearAttention

_NAMES = {'positional_encoding': 'key_table', 'dwc': 'local', 'get_v': 'lepe'}


@MODELS.register_module(name=['FocusedLinearAttention', 'focused'])
class FocusedLinearAttention(LinearAttention):
    """Linear attention whose feature map sharpens directions, with a convolution that restores rank.

    ``o_i = phi(q_i) S / (phi(q_i) . z + eps) + DWC(v)_i`` with ``S = mean_j phi(k_j + P_j)^T v_j``,
    ``z = mean_j phi(k_j + P_j)`` and ``phi(x) = y^p |y| / |y^p|`` for ``y = (relu(x) + 1e-6) / softplus(scale)``, both
    norms over the channels of all heads (equations 5 to 7 of the paper, and its published code).

    The published code stretches shortened values (``sr_ratio`` above 1, which no published model uses) along the
    raster, over the ends of rows; here they are stretched over the map.

    Args:
        embed_dims: Channels C.
        num_heads: Heads; must divide C.
        qkv_bias: Biases in the projections of q, k and v.
        table_size: ``(h, w)`` of the whole map that the positions P of the keys are learned for; they are resized
            bilinearly to other maps. None for no positions.
        focusing_factor: The power p.
        local_kernel: Size of the depthwise convolution DWC of ``head_dim`` channels that all heads share; 0 for none.
        lepe_kernel: Size of a second depthwise convolution on v, of all channels, as in FLatten-CSwin; 0 for none.
        sr_ratio: Shorten keys and values by a strided convolution; 1 keeps every token.
        eps: Added to the denominator, a mean over the keys.
        init_cfg: Initialisation config of mmengine.

    Raises:
        ValueError: If ``num_heads`` does not divide ``embed_dims`` or a kernel is even.
    """

    takes = frozenset({'qkv_bias', 'table_size'})

    def __init__(
        self,
        embed_dims: int,
        num_heads: int,
        qkv_bias: bool = True,
        table_size: tuple[int, int] | None = None,
        focusing_factor: int = 3,
        local_kernel: int = 5,
        lepe_kernel: int = 0,
        sr_ratio: int = 1,
        eps: float = 1e-6,
        init_cfg: dict | None = None,
    ) -> None:
        super().__init__(
            embed_dims,
            num_heads,
            qkv_bias,
            feature_map='focused',
            local_kernel=local_kernel,
            local_shared=True,
            sr_ratio=sr_ratio,
            # of the shortened map: the positions are added to keys, and there is one key a cell
            key_table=tuple(-(-side // sr_ratio) for side in table_size) if table_size else None,
            eps=eps,
            init_cfg=init_cfg,
        )
        self.focusing_factor = focusing_factor
        # as published: softplus keeps it positive, and log 2 at the start
        self.scale = nn.Parameter(torch.zeros(1, 1, embed_dims))
        self.lepe = self.depthwise('lepe_kernel', lepe_kernel, embed_dims)
        if self.lepe is not None:
            init_weights(self.lepe)

    @property
    def branches(self) -> list[nn.Conv2d]:
        return [conv for conv in (self.local, self.lepe) if conv is not None]

    def phi(self, x: torch.Tensor) -> torch.Tensor:
        # in the type of the tokens, at least float32, where the layers are of half precision
        scale = F.softplus(self.heads(self.scale).to(x.dtype))
        return focused(x, self.focusing_factor, scale=scale)


def published_name(key: str) -> str:
    """Rename a key of the published attention (``scale``, ``positional_encoding``, ``dwc``, ``get_v``, ...) to ours.

    ``key`` may have a prefix; what :class:`FocusedLinearAttention` names alike is returned as it is.
    """
    return '.'.join(_NAMES.get(part, part) for part in key.split('.'))
