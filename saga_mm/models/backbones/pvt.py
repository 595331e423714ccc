"""PVT, the Pyramid Vision Transformer (Wang et al., ICCV 2021), with any attention."""

import re
from collections.abc import Sequence
from typing import Any

import torch
from torch import nn

from saga_mm.models.attention.focused import published_name
from saga_mm.ops import Grid, resize_table
from saga_mm.registry import MODELS

from .blocks import Block, FeedForward, PatchEmbed
from .pyramid_backbone import Attention, PyramidBackbone, drop_path_rates, resolve_arch
from .stage import Stage

STAGES = {
    'embed_dims': (64, 128, 320, 512),
    'num_heads': (1, 2, 5, 8),
    'mlp_ratios': (8, 8, 4, 4),
    'sr_ratios': (8, 4, 2, 1),
}
ARCHS: dict[str, dict[str, tuple[int, ...]]] = {
    'tiny': {**STAGES, 'depths': (2, 2, 2, 2)},
    'small': {**STAGES, 'depths': (3, 4, 6, 3)},
    'medium': {**STAGES, 'depths': (3, 4, 18, 3)},
    'large': {**STAGES, 'depths': (3, 8, 27, 3)},
}


def variants(backbone: str, stem: str, drop_path_rates: dict[str, float]) -> dict[str, dict[str, Any]]:
    """Named variants of a backbone of this family: with softmax, with SAGA, and with FLatten's focused attention."""
    return {
        f'{prefix}{stem}_{arch}': {'type': backbone, 'arch': arch, 'attention': attention, 'drop_path_rate': rate}
        for prefix, attention in (('', 'softmax'), ('saga_', 'saga'), ('flatten_', 'focused'))
        for arch, rate in drop_path_rates.items()
    }


VARIANTS = variants('PVT', 'pvt', {'tiny': 0.1, 'small': 0.1, 'medium': 0.3, 'large': 0.3})


class PositionTable(nn.Module):
    """A learned position for each token of a map, resized bilinearly to maps of other sizes.

    Args:
        embed_dims: Channels.
        size: ``(h, w)`` of the map that the table is made for.
    """

    def __init__(self, embed_dims: int, size: tuple[int, int]) -> None:
        super().__init__()
        self.size = size
        self.table = nn.Parameter(torch.zeros(1, size[0] * size[1], embed_dims))
        nn.init.trunc_normal_(self.table, std=0.02)

    def forward(self, grid: Grid) -> torch.Tensor:
        return resize_table(self.table, self.size, grid)


@MODELS.register_module()
class PVT(PyramidBackbone):
    """Pyramid of four stages at strides 4, 8, 16 and 32, for images of any size.

    Args:
        arch: ``'tiny'``, ``'small'``, ``'medium'``, ``'large'``, or a dict with ``embed_dims``, ``depths``,
            ``num_heads``, ``mlp_ratios`` and ``sr_ratios``, one number a stage each.
        attention: A name (``'saga'``, ``'focused'``, ``'softmax'``), a dict with ``type`` and its
            options, or a list of these with one a stage. Keys and values of softmax are shortened by ``sr_ratios``,
            as published; linear attention sees every token unless its own options say otherwise.
        in_channels: Channels of the image.
        qkv_bias: Biases in the projections of queries, keys and values.
        drop_path_rate: Largest rate of stochastic depth; it grows linearly from 0 over the blocks.
        out_indices: Stages whose maps are returned.
        frozen_stages: -1 freezes nothing, 0 the first patch embedding, n the first n stages. What is frozen also
            stays in eval mode.
        with_cp: Recompute each block in the backward pass instead of keeping its activations.
        pretrain_img_size: Side of the square images that the position tables are made for. At other sizes the tables
            are resized bilinearly.
        class_token: A class token in the last stage, as in PVT's classifier.
        init_cfg: Initialisation config of mmengine, such as ``dict(type='Pretrained', checkpoint=...)``.

    Raises:
        ValueError: If ``arch`` or ``attention`` is unknown or an argument does not fit the number of stages.
    """

    archs = ARCHS
    overlap = False
    feed_forward = FeedForward

    def __init__(
        self,
        arch: str | dict = 'tiny',
        attention: Attention = 'saga',
        in_channels: int = 3,
        qkv_bias: bool = True,
        drop_path_rate: float = 0.1,
        out_indices: Sequence[int] = (0, 1, 2, 3),
        frozen_stages: int = -1,
        with_cp: bool = False,
        pretrain_img_size: int = 224,
        class_token: bool = False,
        init_cfg: dict | list[dict] | None = None,
    ) -> None:
        arch = resolve_arch(arch, self.archs)
        super().__init__(arch['embed_dims'], attention, out_indices, frozen_stages, init_cfg)
        stride = 1
        for i, (dims, rates) in enumerate(
            zip(self.embed_dims, drop_path_rates(drop_path_rate, arch['depths']), strict=True)
        ):
            patch_size = 4 if i == 0 else 2
            stride *= patch_size
            # rounded up, as maps are: a table of 224 pixels fits the map that they make without being resized
            side = -(-pretrain_img_size // stride)
            offers = {'qkv_bias': qkv_bias, 'sr_ratio': arch['sr_ratios'][i], 'table_size': (side, side)}
            hidden_dims = int(dims * arch['mlp_ratios'][i])
            blocks = [
                Block(
                    dims,
                    self.build_mixer(i, arch['num_heads'][i], **offers),
                    self.feed_forward(dims, hidden_dims),
                    rate,
                )
                for rate in rates
            ]
            embed = PatchEmbed(in_channels, dims, patch_size, self.overlap)
            self.stages.append(Stage(embed, blocks, with_cp=with_cp, **self.stage_parts(dims, (side, side))))
            in_channels = dims
        if class_token:
            self.add_class_token(len(self.stages) - 1)
        self.freeze()

    @staticmethod
    def stage_parts(embed_dims: int, size: tuple[int, int]) -> dict[str, nn.Module]:
        """What a stage has besides its embedding and blocks; ``size`` is its map's at the pretraining size."""
        return {'position': PositionTable(embed_dims, size)}


def published_state(state: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """Rename the keys of a published PVT or FLatten-PVT classifier's state dict to those of :class:`PVT`.

    The classifier's own parts (class token and its position, final norm, head) are left out; FLatten-PVT stores a
    final norm that it never calls.
    """
    ours = rename_stages(state, {'pos_embed': 'position.table', 'patch_embed': 'embed', 'block': 'blocks'})
    last = max((key for key in ours if key.endswith('position.table')), default=None)
    if last is not None and 'cls_token' in state:
        # the first row is of the class token
        ours[last] = ours[last][:, 1:]
    return ours


def rename_stages(state: dict[str, torch.Tensor], names: dict[str, str]) -> dict[str, torch.Tensor]:
    """Keys ``{part}{stage}[.rest]`` of a published state dict as ``stages.{stage - 1}.{names[part]}[.rest]``.

    Stages are published from 1. Keys of another form and parts without a name are left out.
    """
    ours = {}
    for key, value in state.items():
        match = re.fullmatch(r'([a-z_]+)(\d)(?:\.(.+))?', key)
        if match is None or match[1] not in names:
            continue
        parts = (f'stages.{int(match[2]) - 1}', names[match[1]], match[3])
        ours[published_name('.'.join(filter(None, parts)))] = value
    return ours
