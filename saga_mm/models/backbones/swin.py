"""Swin Transformer (Liu et al., ICCV 2021), FLatten-Swin and SAGA-Swin: each with any attention."""

import re
from collections.abc import Sequence
from typing import Any

import torch
from torch import nn

from saga_mm.models.attention.focused import published_name
from saga_mm.models.init import init_weights
from saga_mm.ops import Grid, pad_to_multiple
from saga_mm.registry import MODELS

from .blocks import Block, FeedForward, PatchEmbed
from .pyramid_backbone import Attention, PyramidBackbone, drop_path_rates, resolve_arch
from .stage import Stage

_TINY = {'embed_dims': (96, 192, 384, 768), 'depths': (2, 2, 6, 2), 'num_heads': (3, 6, 12, 24)}
ARCHS: dict[str, dict[str, tuple[int, ...]]] = {
    'tiny': _TINY,
    'small': {**_TINY, 'depths': (2, 2, 18, 2)},
    'base': {'embed_dims': (128, 256, 512, 1024), 'depths': (2, 2, 18, 2), 'num_heads': (4, 8, 16, 32)},
}
_SIZES: dict[str, dict[str, Any]] = {
    'tiny': {'arch': 'tiny', 'drop_path_rate': 0.2},
    'small': {'arch': 'small', 'drop_path_rate': 0.3},
    'base': {'arch': 'base', 'drop_path_rate': 0.5},
    'base_384': {'arch': 'base', 'drop_path_rate': 0.5, 'window_size': 12, 'pretrain_img_size': 384},
}
_MIXERS: dict[str, Attention] = {
    '': {'type': 'softmax', 'borders': 'mmdet'},
    'flatten_': ['focused', 'focused', 'softmax', 'softmax'],
    'saga_': ['saga', 'saga', 'softmax', 'softmax'],
}
VARIANTS: dict[str, dict[str, Any]] = {
    f'{prefix}swin_{size}': {'type': 'Swin', **options, 'attention': attention}
    for prefix, attention in _MIXERS.items()
    for size, options in _SIZES.items()
}


class PatchMerging(nn.Module):
    """Make one token of each 2 x 2 of a map ``(B, C, H, W)``: ``(B, ceil(H / 2) * ceil(W / 2), embed_dims)``.

    An odd side is padded with zeros. The four are lined up column by column, as published.
    """

    stride, reach = 2, 0

    def __init__(self, in_channels: int, embed_dims: int) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(4 * in_channels)
        self.reduction = nn.Linear(4 * in_channels, embed_dims, bias=False)
        self.apply(init_weights)

    def forward(self, x: torch.Tensor) -> tuple[torch.Tensor, Grid]:
        x = pad_to_multiple(x, 2).unflatten(3, (-1, 2)).unflatten(2, (-1, 2))
        # (B, C, h, 2, w, 2) to (B, h, w, column, row, C)
        x = x.permute(0, 2, 4, 5, 3, 1)
        return self.reduction(self.norm(x.flatten(3).flatten(1, 2))), Grid.whole(*x.shape[1:3])

    @property
    def peak_floats_per_token(self) -> float:
        """As of ``PatchEmbed``."""
        return self.norm.weight.numel()


@MODELS.register_module()
class Swin(PyramidBackbone):
    """Pyramid of four stages at strides 4, 8, 16 and 32, for images of any size; each output has its own norm.

    Args:
        arch: ``'tiny'``, ``'small'``, ``'base'``, or a dict with ``embed_dims``, ``depths`` and ``num_heads``, one
            number a stage each.
        attention: A name (``'saga'``, ``'focused'``), a dict with ``type`` and its options, or a list of
            these with one a stage. ``'softmax'`` is attention within windows, shifted in every other block; linear
            attention sees the whole map in every block.
        in_channels: Channels of the image.
        qkv_bias: Biases in the projections of queries, keys and values.
        window_size: Side of a window, in tokens.
        mlp_ratio: Width of the feed-forward's hidden layer, in multiples of the stage's channels.
        drop_path_rate: Largest rate of stochastic depth; it grows linearly from 0 over the blocks.
        out_indices: Stages whose maps are returned.
        frozen_stages: -1 freezes nothing, 0 the patch embedding, n the first n stages. What is frozen also stays in
            eval mode.
        with_cp: Recompute each block in the backward pass instead of keeping its activations.
        pretrain_img_size: Side of the square images that position tables of attention are made for. At other sizes the
            tables are resized bilinearly.
        init_cfg: Initialisation config of mmengine, such as ``dict(type='Pretrained', checkpoint=...)``.

    Raises:
        ValueError: If ``arch`` or ``attention`` is unknown or an argument does not fit the number of stages.
    """

    softmax = 'window'

    def __init__(
        self,
        arch: str | dict = 'tiny',
        attention: Attention = ('saga', 'saga', 'softmax', 'softmax'),
        in_channels: int = 3,
        qkv_bias: bool = True,
        window_size: int = 7,
        mlp_ratio: float = 4.0,
        drop_path_rate: float = 0.2,
        out_indices: Sequence[int] = (0, 1, 2, 3),
        frozen_stages: int = -1,
        with_cp: bool = False,
        pretrain_img_size: int = 224,
        init_cfg: dict | list[dict] | None = None,
    ) -> None:
        arch = resolve_arch(arch, ARCHS)
        super().__init__(arch['embed_dims'], attention, out_indices, frozen_stages, init_cfg)
        rates = drop_path_rates(drop_path_rate, arch['depths'])
        for i, dims in enumerate(self.embed_dims):
            side = -(-pretrain_img_size // (4 * 2**i))
            offers = {'qkv_bias': qkv_bias, 'window_size': window_size, 'table_size': (side, side)}
            blocks = []
            for j, rate in enumerate(rates[i]):
                # every other block, and by half a window: what a border cut is in the middle of the next block's
                shift = window_size // 2 if j % 2 else 0
                mixer = self.build_mixer(i, arch['num_heads'][i], shift=shift, **offers)
                blocks.append(Block(dims, mixer, FeedForward(dims, int(dims * mlp_ratio)), rate, eps=1e-5))
            embed = PatchMerging(self.embed_dims[i - 1], dims) if i else PatchEmbed(in_channels, dims, 4)
            self.stages.append(Stage(embed, blocks, with_cp=with_cp))
        self.add_out_norms(1e-5)
        self.freeze()


def published_state(state: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """Rename the keys of a published Swin or FLatten-Swin, classifier or detector, to those of :class:`Swin`.

    The fused ``qkv`` is split, a classifier's norm becomes that of the last output, and its head and the buffers that
    are computed rather than learned are left out.
    """
    # each stage but the last ends in a downsampling: their number is the index of the last
    last = sum(key.endswith('downsample.norm.weight') for key in state)
    ours = {}
    for key, value in state.items():
        if key.startswith('head.') or key.endswith(('relative_position_index', 'attn_mask')):
            continue
        key = re.sub(r'^layers\.(\d+)\.downsample', lambda match: f'stages.{int(match[1]) + 1}.embed', key)
        key = re.sub(r'^norm(\d*)\.', lambda match: f'out_norms.{match[1] or last}.', key)
        key = key.replace('patch_embed.', 'stages.0.embed.').replace('layers.', 'stages.')
        ours.update(split_qkv(published_name(key), value))
    return ours


def split_qkv(key: str, value: torch.Tensor) -> dict[str, torch.Tensor]:
    """``value`` under ``key``; if it is a fused projection ``qkv``, its rows for ``q`` and for ``kv`` apart."""
    if '.qkv.' not in key:
        return {key: value}
    dims = len(value) // 3
    return {key.replace('.qkv.', '.q.'): value[:dims], key.replace('.qkv.', '.kv.'): value[dims:]}
