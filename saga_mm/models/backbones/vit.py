"""Plain vision transformers of DeiT's sizes (Touvron et al., ICML 2021), with any attention."""

import re
from collections.abc import Sequence
from typing import Any

import torch
from torch import nn

from saga_mm.models.attention.focused import published_name
from saga_mm.ops import Grid, map_to_tokens
from saga_mm.registry import MODELS

from .blocks import Block, FeedForward, PatchEmbed
from .pvt import PositionTable
from .pyramid_backbone import Attention, PyramidBackbone, drop_path_rates, resolve_arch
from .stage import Stage
from .swin import split_qkv

ARCHS: dict[str, dict[str, tuple[int, ...]]] = {
    'tiny': {'embed_dims': (192,), 'depths': (12,), 'num_heads': (3,), 'mlp_ratios': (4,)},
    'small': {'embed_dims': (384,), 'depths': (12,), 'num_heads': (6,), 'mlp_ratios': (4,)},
    'base': {'embed_dims': (768,), 'depths': (12,), 'num_heads': (12,), 'mlp_ratios': (4,)},
}
VARIANTS: dict[str, dict[str, Any]] = {
    f'{prefix}vit_{arch}': {'type': 'ViT', 'arch': arch, 'attention': attention}
    for prefix, attention in (('', 'softmax'), ('saga_', 'saga'), ('flatten_', 'focused'))
    for arch in ARCHS
}


class PlainPatchEmbed(PatchEmbed):
    """Patches as tokens, without a norm."""

    def __init__(self, in_channels: int, embed_dims: int, patch_size: int) -> None:
        super().__init__(in_channels, embed_dims, patch_size)
        self.norm = nn.Identity()


class MapTokens(nn.Module):
    """The tokens of a map ``(B, C, H, W)``: the entrance of a block behind another."""

    stride, reach = 1, 0

    def __init__(self, embed_dims: int) -> None:
        super().__init__()
        self.peak_floats_per_token = 2.0 * embed_dims

    def forward(self, x: torch.Tensor) -> tuple[torch.Tensor, Grid]:
        return map_to_tokens(x), Grid.whole(*x.shape[2:])


@MODELS.register_module()
class ViT(PyramidBackbone):
    """Blocks of one width at one stride, for images of any size; each output has its own norm.

    Each block is a stage of its own: ``out_indices``, ``frozen_stages`` and a list as ``attention`` count blocks.
    :class:`~saga_mm.models.necks.SimplePyramid` makes maps at strides 4 to 32 of the last one, for detectors and
    segmentors that want them.

    Args:
        arch: ``'tiny'``, ``'small'``, ``'base'``, or a dict with ``embed_dims``, ``depths``, ``num_heads`` and
            ``mlp_ratios``, a tuple of one number each.
        attention: A name (``'saga'``, ``'focused'``, ``'softmax'``), a dict with ``type`` and its options,
            or a list of these with one a block. ``'softmax'`` is attention to all tokens.
        in_channels: Channels of the image.
        patch_size: Side of a patch, which is the stride of the maps.
        qkv_bias: Biases in the projections of queries, keys and values.
        drop_path_rate: Largest rate of stochastic depth; it grows linearly from 0 over the blocks.
        out_indices: Blocks whose maps are returned; -1 is the last.
        frozen_stages: -1 freezes nothing, 0 the patch embedding, n the first n blocks. What is frozen also stays in
            eval mode.
        with_cp: Recompute each block in the backward pass instead of keeping its activations.
        pretrain_img_size: Side of the square images that the position table is made for. At other sizes it is resized
            bilinearly.
        class_token: A class token before the patches, as in DeiT. Linear attention gives it neither an entry of the key
            table nor a local branch. With it the backbone does not run in strips.
        init_cfg: Initialisation config of mmengine, such as ``dict(type='Pretrained', checkpoint=...)``.

    Raises:
        ValueError: If ``arch`` or ``attention`` is unknown, or an argument does not fit the number of blocks.
    """

    def __init__(
        self,
        arch: str | dict = 'tiny',
        attention: Attention = 'saga',
        in_channels: int = 3,
        patch_size: int = 16,
        qkv_bias: bool = True,
        drop_path_rate: float = 0.1,
        out_indices: Sequence[int] = (-1,),
        frozen_stages: int = -1,
        with_cp: bool = False,
        pretrain_img_size: int = 224,
        class_token: bool = False,
        init_cfg: dict | list[dict] | None = None,
    ) -> None:
        arch = resolve_arch(arch, ARCHS)
        dims, depth, heads, ratio = (arch[key][0] for key in ('embed_dims', 'depths', 'num_heads', 'mlp_ratios'))
        # by the arch's own depth: configs name the last block without knowing how many there are
        out_indices = tuple(depth + i if i < 0 else i for i in out_indices)
        super().__init__((dims,) * depth, attention, out_indices, frozen_stages, init_cfg)
        side = -(-pretrain_img_size // patch_size)
        offers = {'qkv_bias': qkv_bias, 'table_size': (side, side)}
        for i, rate in enumerate(drop_path_rates(drop_path_rate, (depth,))[0]):
            mixer = self.build_mixer(i, heads, **offers)
            block = Block(dims, mixer, FeedForward(dims, int(dims * ratio)), rate)
            if i:
                stage = Stage(MapTokens(dims), [block], with_cp=with_cp)
            else:
                embed, position = PlainPatchEmbed(in_channels, dims, patch_size), PositionTable(dims, (side, side))
                stage = Stage(embed, [block], position, with_cp=with_cp)
            self.stages.append(stage)
        if class_token:
            self.add_class_token(0)
        self.add_out_norms(1e-6)
        self.freeze()


def published_state(state: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """Rename the keys of a published DeiT or ViT state dict to those of :class:`ViT`.

    The fused ``qkv`` is split; class token, its rows in tables, and the head are left out.
    """
    # the one norm of a published file stands behind all blocks
    last = max((int(key.split('.')[1]) for key in state if key.startswith('blocks.')), default=0)
    ours: dict[str, torch.Tensor] = {}
    for key, value in state.items():
        if key == 'pos_embed' or key.endswith('.positional_encoding'):
            # a class token's row, and perhaps a distillation token's, come first
            value = value[:, value.shape[1] - int(value.shape[1] ** 0.5) ** 2 :]
        if key == 'pos_embed':
            ours['stages.0.position.table'] = value
        elif key.startswith('patch_embed.'):
            ours[key.replace('patch_embed.', 'stages.0.embed.')] = value
        elif key.startswith('norm.'):
            ours[key.replace('norm.', f'out_norms.{last}.')] = value
        elif key.startswith('blocks.'):
            name = re.sub(r'^blocks\.(\d+)\.', r'stages.\1.blocks.0.', published_name(key))
            ours.update(split_qkv(name, value))
    return ours
