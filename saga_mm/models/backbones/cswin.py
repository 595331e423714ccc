"""CSWin Transformer (Dong et al., CVPR 2022), FLatten-CSwin and SAGA-CSwin: each with any attention."""

import re
from collections.abc import Sequence
from typing import Any

import torch
from torch import nn

from saga_mm.models.attention.focused import published_name
from saga_mm.models.init import init_weights
from saga_mm.registry import MODELS

from .blocks import Block, FeedForward, PatchEmbed
from .pyramid_backbone import Attention, PyramidBackbone, drop_path_rates, resolve_arch
from .stage import Stage
from .swin import split_qkv

_SMALL = {'embed_dims': (64, 128, 256, 512), 'depths': (2, 4, 32, 2), 'num_heads': (2, 4, 8, 16)}
_BASE = {'embed_dims': (96, 192, 384, 768), 'depths': (2, 4, 32, 2), 'num_heads': (4, 8, 16, 32)}
ARCHS: dict[str, dict[str, tuple[int, ...]]] = {
    'tiny': {**_SMALL, 'depths': (1, 2, 21, 1)},
    'small': _SMALL,
    'base': _BASE,
    'flatten_tiny': {**_SMALL, 'depths': (2, 4, 18, 1)},
    'flatten_base': {**_BASE, 'depths': (3, 6, 29, 2)},
}
_SIZES: dict[str, dict[str, Any]] = {
    'tiny': {'drop_path_rate': 0.2},
    'small': {'drop_path_rate': 0.4},
    'base': {'drop_path_rate': 0.5},
    'base_384': {'drop_path_rate': 0.7, 'stripe_widths': (1, 2, 12, 0), 'pretrain_img_size': 384},
}
_FOCUSED = {'type': 'focused', 'lepe_kernel': 3}
_MIXERS: dict[str, Attention] = {
    '': 'softmax',
    'flatten_': [_FOCUSED, _FOCUSED, 'softmax', 'softmax'],
    'saga_': ['saga', 'saga', 'softmax', 'softmax'],
}


def _arch(prefix: str, size: str) -> str:
    name = size.split('_')[0]
    return f'flatten_{name}' if prefix and f'flatten_{name}' in ARCHS else name


VARIANTS: dict[str, dict[str, Any]] = {
    f'{prefix}cswin_{size}': {'type': 'CSwin', 'arch': _arch(prefix, size), **options, 'attention': attention}
    for prefix, attention in _MIXERS.items()
    for size, options in _SIZES.items()
}


class Stem(PatchEmbed):
    """Overlapping patches of 7 x 7 at a stride of 4, with the published padding of 2, as tokens."""

    def __init__(self, in_channels: int, embed_dims: int) -> None:
        super().__init__(in_channels, embed_dims, 4)
        self.proj = nn.Conv2d(in_channels, embed_dims, 7, 4, 2)
        # two rows above its own and one below: the reach of 3, of kernel and stride, covers both
        init_weights(self.proj)


@MODELS.register_module()
class CSwin(PyramidBackbone):
    """Pyramid of four stages at strides 4, 8, 16 and 32, for images of any size; each output has its own norm.

    Args:
        arch: ``'tiny'``, ``'small'``, ``'base'``, FLatten's depths ``'flatten_tiny'`` and ``'flatten_base'``, or a dict
            with ``embed_dims``, ``depths`` and ``num_heads``, one number a stage each.
        attention: A name (``'saga'``, ``'focused'``), a dict with ``type`` and its options, or a list of
            these with one a stage. ``'softmax'`` is attention within upright and lying stripes; linear attention sees
            the whole map with all its heads.
        in_channels: Channels of the image.
        qkv_bias: Biases in the projections of queries, keys and values.
        stripe_widths: Width of softmax's stripes in each stage, in tokens; 0 for the whole map.
        mlp_ratio: Width of the feed-forward's hidden layer, in multiples of the stage's channels.
        drop_path_rate: Largest rate of stochastic depth; it grows linearly from 0 over the blocks.
        out_indices: Stages whose maps are returned.
        frozen_stages: -1 freezes nothing, 0 the stem, n the first n stages. What is frozen also stays in eval mode.
        with_cp: Recompute each block in the backward pass instead of keeping its activations.
        pretrain_img_size: Side of the square images that position tables of attention are made for. At other sizes the
            tables are resized bilinearly.
        init_cfg: Initialisation config of mmengine, such as ``dict(type='Pretrained', checkpoint=...)``.

    Raises:
        ValueError: If ``arch`` or ``attention`` is unknown or an argument does not fit the number of stages.
    """

    softmax = 'cross_window'

    def __init__(
        self,
        arch: str | dict = 'tiny',
        attention: Attention = ('saga', 'saga', 'softmax', 'softmax'),
        in_channels: int = 3,
        qkv_bias: bool = True,
        stripe_widths: Sequence[int] = (1, 2, 7, 0),
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
        if len(stripe_widths) != len(self.embed_dims):
            raise ValueError(f'stripe_widths lists {len(stripe_widths)} widths for {len(self.embed_dims)} stages')
        rates = drop_path_rates(drop_path_rate, arch['depths'])
        for i, dims in enumerate(self.embed_dims):
            side = -(-pretrain_img_size // (4 * 2**i))
            offers = {'qkv_bias': qkv_bias, 'stripe_width': stripe_widths[i], 'table_size': (side, side)}
            blocks = []
            for rate in rates[i]:
                mixer = self.build_mixer(i, arch['num_heads'][i], **offers)
                blocks.append(Block(dims, mixer, FeedForward(dims, int(dims * mlp_ratio)), rate, eps=1e-5))
            embed = PatchEmbed(self.embed_dims[i - 1], dims, 2, overlap=True) if i else Stem(in_channels, dims)
            self.stages.append(Stage(embed, blocks, with_cp=with_cp))
        self.add_out_norms(1e-5)
        self.freeze()


def published_state(state: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """Rename the keys of a published CSwin or FLatten-CSwin state dict to those of :class:`CSwin`.

    The block's ``qkv`` and ``proj`` become those of its attention, the depthwise convolutions of the two branches
    become one, the classifier's norm becomes that of the last output, and its head is left out. ``norm1`` to ``norm4``
    of a published segmentation backbone become the norms of the outputs.
    """
    ours: dict[str, torch.Tensor] = {}
    for key, value in state.items():
        if key.startswith('head.'):
            continue
        if key.startswith('norm.'):
            # one convolution between two stages: one more is the number of stages, whose last norm it is
            key = f'norm{sum(name.endswith(".conv.weight") for name in state) + 1}.{key[5:]}'
        # of the embedding's three parts, the second rearranges and has no weights
        key = key.replace('stage1_conv_embed.0.', 'stages.0.embed.proj.')
        key = key.replace('stage1_conv_embed.2.', 'stages.0.embed.norm.')
        key = re.sub(r'^norm(\d)\.', lambda match: f'out_norms.{int(match[1]) - 1}.', key)
        key = re.sub(r'^merge(\d)\.', r'stages.\1.embed.', key).replace('.conv.', '.proj.')
        key = re.sub(r'^stage(\d)\.', lambda match: f'stages.{int(match[1]) - 1}.blocks.', key)
        key = re.sub(r'(blocks\.\d+)\.(qkv|proj)\.', r'\1.attn.\2.', key)
        branch = re.search(r'attns\.(\d)\.', key)
        key = published_name(key.replace(branch[0], 'attn.') if branch else key)
        if branch and branch[1] == '1':
            # the first branch is of the upright stripes, whose heads come first in ours too
            value = torch.cat([ours[key], value])
        ours.update(split_qkv(key, value))
    return ours
