"""The mixers that are compared, with the same local branch, in trunks of the same number of parameters."""

from __future__ import annotations

from functools import cache
from typing import Any

import torch
import torch.nn.functional as F
from torch import nn

from saga_mm.models.attention import LinearAttention, SoftmaxAttention, TokenMixer, WindowAttention
from saga_mm.models.attention.token_mixer import project_values
from saga_mm.ops import Grid, map_to_tokens, tokens_to_map
from saga_mm.registry import MODELS

LOCAL_KERNEL = 3
TOLERANCE = 0.01
# the mixer whose trunk has the feed-forward of the trunk's own ratio; the others are fitted to it
REFERENCE = 'saga'


class WithLocal(TokenMixer):
    """A softmax mixer with the local branch that linear ones have: a depthwise convolution of the values."""

    def __init__(self, embed_dims: int, num_heads: int, **options: Any) -> None:
        super().__init__(embed_dims, num_heads, **options)
        self.local = LinearAttention.depthwise('local_kernel', LOCAL_KERNEL, embed_dims)

    def forward(self, x: torch.Tensor, grid: Grid) -> torch.Tensor:
        local = map_to_tokens(self.local(tokens_to_map(project_values(self.kv, x), grid)))
        # the last projection is linear, so that it may take both parts apart
        return super().forward(x, grid) + F.linear(local, self.proj.weight)


class LocalSoftmax(WithLocal, SoftmaxAttention):
    """Softmax over all tokens and a local branch."""


class LocalWindow(WithLocal, WindowAttention):
    """Softmax within shifted windows and a local branch."""


SAGA = {'type': 'saga', 'local_kernel': LOCAL_KERNEL}
MIXERS: dict[str, dict[str, Any]] = {
    'softmax': {'type': LocalSoftmax},
    'linear': {'type': 'linear', 'local_kernel': LOCAL_KERNEL},
    'focused': {'type': 'focused', 'local_kernel': 0, 'lepe_kernel': LOCAL_KERNEL},
    'rala': {'type': 'rala', 'local_kernel': LOCAL_KERNEL},
    'mala': {'type': 'mala', 'local_kernel': LOCAL_KERNEL},
    'saga': SAGA,
}
# SAGA with one choice made otherwise; without gates it is 'linear'. Gates that are not sigmoids start near 1.
CHOICES: dict[str, dict[str, Any]] = {
    'saga-key': {**SAGA, 'gates': 'key'},
    'saga-value': {**SAGA, 'gates': 'value'},
    'saga-low-rank': {**SAGA, 'gate_source': 'low_rank'},
    'saga-kv': {**SAGA, 'gate_source': 'kv'},
    'saga-shared': {**SAGA, 'gate_shared': True},
    'saga-bias-0': {**SAGA, 'gate_bias': 0.0},
    'saga-tanh': {**SAGA, 'gate_act': '1+tanh', 'gate_bias': 0.0},
    'saga-silu': {**SAGA, 'gate_act': 'silu', 'gate_bias': 1.28},
    'saga-rank-2': {**SAGA, 'gate_rank': 2},
    'saga-gated-norm': {**SAGA, 'normalizer': 'gated'},
    'saga-head-norm': {**SAGA, 'normalizer': 'none'},
}

PVT = {
    'embed_dims': (32, 64, 96, 128),
    'depths': (1, 2, 2, 1),
    'num_heads': (2, 4, 6, 8),
    'sr_ratios': (1, 1, 1, 1),
}
SWIN = {'embed_dims': (32, 64, 96, 128), 'depths': (2, 2, 2, 1), 'num_heads': (2, 4, 6, 8)}
RATIO = 3.0
TRUNKS = ('pvt', 'swin', 'unet')


def build_trunk(trunk: str, mixer: str, image_size: int, ratio: float, drop_path_rate: float = 0.05) -> nn.Module:
    """A trunk with four outputs.

    Args:
        trunk: ``'pvt'``, with the mixer in all stages, or ``'swin'``: the mixer in the first two, windows behind.
        mixer: A name of :data:`MIXERS` or :data:`CHOICES`.
        image_size: Side of the images that position tables are made for.
        ratio: Width of the feed-forwards, in multiples of the channels.
        drop_path_rate: Largest rate of stochastic depth.
    """
    attention = {**MIXERS, **CHOICES}[mixer]
    options = {'drop_path_rate': drop_path_rate, 'pretrain_img_size': image_size}
    if trunk == 'pvt':
        arch = {**PVT, 'mlp_ratios': (ratio,) * 4}
        return MODELS.get('PVT')(arch, attention, **options)
    mixed = {'type': LocalWindow} if mixer == 'softmax' else attention
    return MODELS.get('Swin')(SWIN, [mixed, mixed, 'softmax', 'softmax'], window_size=4, mlp_ratio=ratio, **options)


def unet_arch(ratio: float) -> dict[str, Any]:
    """The enhancer's small trunk with feed-forwards of this width."""
    return {'embed_dims': (16, 32, 64), 'depths': (1, 1, 3), 'num_heads': (0, 2, 4), 'mlp_ratio': ratio}


@cache
def count(trunk: str, mixer: str, image_size: int, ratio: float) -> int:
    """Parameters of a trunk."""
    with torch.device('meta'):
        if trunk == 'unet':
            net = MODELS.get('SAGAUNet')(unet_arch(ratio), {**MIXERS, **CHOICES}[mixer])
        else:
            net = build_trunk(trunk, mixer, image_size, ratio)
        return sum(p.numel() for p in net.parameters())


@cache
def matched_ratio(trunk: str, mixer: str, image_size: int) -> float:
    """The width of feed-forwards at which the trunk has the parameters of the reference's, within 1 %.

    Raises:
        ValueError: If there is none.
    """
    wanted = count(trunk, REFERENCE, image_size, RATIO)
    narrow, wide = (count(trunk, mixer, image_size, ratio) for ratio in (1.0, 2.0))
    # the count grows linearly; a 32nd is one hidden channel in the first stage
    best = round(32 * (1 + (wanted - narrow) / (wide - narrow))) / 32
    error = count(trunk, mixer, image_size, best) / wanted - 1
    if abs(error) > TOLERANCE:
        raise ValueError(
            f'{trunk} with {mixer}: no feed-forward makes its parameters those of {REFERENCE}: {error:.1%}'
        )
    return best
