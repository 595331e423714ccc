"""PVT, the Pyramid Vision Transformer (Wang et al., ICCV 2021), as a host of any token mixer."""

import re
from collections.abc import Sequence

import torch
from mmengine.model import BaseModule
from torch import nn
from torch.utils.checkpoint import checkpoint

from saga_mm.models.attention import build_attention, resolve_attention
from saga_mm.ops import Grid, resize_table, tokens_to_map
from saga_mm.registry import MODELS

from .layers import DropPath, FeedForward, PatchEmbed

_STAGES = {
    'embed_dims': (64, 128, 320, 512),
    'num_heads': (1, 2, 5, 8),
    'mlp_ratios': (8, 8, 4, 4),
    'sr_ratios': (8, 4, 2, 1),
}
ARCHS: dict[str, dict[str, tuple[int, ...]]] = {
    'tiny': {**_STAGES, 'depths': (2, 2, 2, 2)},
    'small': {**_STAGES, 'depths': (3, 4, 6, 3)},
    'medium': {**_STAGES, 'depths': (3, 4, 18, 3)},
    'large': {**_STAGES, 'depths': (3, 8, 27, 3)},
}


class Block(nn.Module):
    """Attention and feed-forward, each behind a norm and around a residual."""

    def __init__(self, embed_dims: int, attention: nn.Module, mlp_ratio: float, drop_path: float) -> None:
        super().__init__()
        self.norm1 = nn.LayerNorm(embed_dims, eps=1e-6)
        self.attn = attention
        self.norm2 = nn.LayerNorm(embed_dims, eps=1e-6)
        self.mlp = FeedForward(embed_dims, int(embed_dims * mlp_ratio))
        self.drop_path = DropPath(drop_path)

    def forward(self, x: torch.Tensor, grid: Grid) -> torch.Tensor:
        x = x + self.drop_path(self.attn(self.norm1(x), grid))
        return x + self.drop_path(self.mlp(self.norm2(x)))


class Stage(nn.Module):
    """Patch embedding, learned positions, blocks: from a map to tokens at a coarser stride."""

    def __init__(
        self,
        in_channels: int,
        embed_dims: int,
        patch_size: int,
        table_size: tuple[int, int],
        blocks: Sequence[Block],
        with_cp: bool,
    ) -> None:
        super().__init__()
        self.patch_embed = PatchEmbed(in_channels, embed_dims, patch_size)
        self.table_size = table_size
        self.pos_embed = nn.Parameter(torch.zeros(1, table_size[0] * table_size[1], embed_dims))
        nn.init.trunc_normal_(self.pos_embed, std=0.02)
        self.blocks = nn.ModuleList(blocks)
        self.with_cp = with_cp

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x, grid = self.patch_embed(x)
        x = x + resize_table(self.pos_embed, self.table_size, grid)
        for block in self.blocks:
            if self.with_cp and self.training and torch.is_grad_enabled():
                x = checkpoint(block, x, grid, use_reentrant=False)
            else:
                x = block(x, grid)
        # some compiled operators downstream read memory as if it were plain NCHW
        return tokens_to_map(x, grid).contiguous()


@MODELS.register_module()
class PVT(BaseModule):
    """Pyramid of four stages at strides 4, 8, 16 and 32, for images of any size.

    Args:
        arch: ``'tiny'``, ``'small'``, ``'medium'``, ``'large'``, or a dict with ``embed_dims``, ``depths``,
            ``num_heads``, ``mlp_ratios`` and ``sr_ratios``, one number a stage each.
        attention: Token mixer: a name (``'saga'``, ``'softmax'``), a dict with ``type`` and its options, or a list of
            these with one a stage. Keys and values of softmax are shortened by ``sr_ratios``, as published; a linear
            mixer sees every token unless its own options say otherwise.
        in_channels: Channels of the image.
        qkv_bias: Biases in the projections of queries, keys and values.
        drop_path_rate: Largest rate of stochastic depth; it grows linearly from 0 over the blocks.
        out_indices: Stages whose maps are returned.
        frozen_stages: -1 freezes nothing, 0 the first patch embedding, n the first n stages. What is frozen also
            stays in eval mode.
        with_cp: Recompute each block in the backward pass instead of keeping its activations.
        pretrain_img_size: Side of the square images that the position tables are made for. At other sizes the tables
            are resized bilinearly.
        init_cfg: Initialisation config of mmengine, such as ``dict(type='Pretrained', checkpoint=...)``.

    Raises:
        ValueError: If ``arch`` or ``attention`` is unknown or an argument does not fit the number of stages.
    """

    def __init__(
        self,
        arch: str | dict = 'tiny',
        attention: str | dict | Sequence[str | dict] = 'saga',
        in_channels: int = 3,
        qkv_bias: bool = True,
        drop_path_rate: float = 0.1,
        out_indices: Sequence[int] = (0, 1, 2, 3),
        frozen_stages: int = -1,
        with_cp: bool = False,
        pretrain_img_size: int = 224,
        init_cfg: dict | list[dict] | None = None,
    ) -> None:
        super().__init__(init_cfg)
        arch = _resolve_arch(arch)
        self.embed_dims = tuple(arch['embed_dims'])
        count = len(self.embed_dims)
        mixers = [attention] * count if isinstance(attention, str | dict) else list(attention)
        if len(mixers) != count:
            raise ValueError(f'attention lists {len(mixers)} mixers for {count} stages')
        if not out_indices or not set(out_indices) <= set(range(count)):
            raise ValueError(f'out_indices={tuple(out_indices)} must name some of the stages 0 to {count - 1}')
        if not -1 <= frozen_stages <= count:
            raise ValueError(f'frozen_stages={frozen_stages} must be between -1 and {count}')
        self.out_indices = tuple(out_indices)
        self.frozen_stages = frozen_stages
        last = max(sum(arch['depths']) - 1, 1)
        rates = (drop_path_rate * i / last for i in range(last + 1))
        self.stages = nn.ModuleList()
        stride = 1
        for i, dims in enumerate(self.embed_dims):
            patch_size = 4 if i == 0 else 2
            stride *= patch_size
            side = -(-pretrain_img_size // stride)
            defaults = {'qkv_bias': qkv_bias}
            if not resolve_attention(mixers[i])[0].linear:
                defaults['sr_ratio'] = arch['sr_ratios'][i]
            blocks = [
                Block(
                    dims,
                    build_attention(mixers[i], dims, arch['num_heads'][i], **defaults),
                    arch['mlp_ratios'][i],
                    next(rates),
                )
                for _ in range(arch['depths'][i])
            ]
            self.stages.append(Stage(in_channels, dims, patch_size, (side, side), blocks, with_cp))
            in_channels = dims
        self._freeze()

    def forward(self, x: torch.Tensor) -> tuple[torch.Tensor, ...]:
        """Maps ``(B, embed_dims[i], ceil(H / stride), ceil(W / stride))`` of an image batch ``(B, 3, H, W)``.

        One for each of ``out_indices``, in ascending order.
        """
        outs = []
        for i, stage in enumerate(self.stages[: max(self.out_indices) + 1]):
            x = stage(x)
            if i in self.out_indices:
                outs.append(x)
        return tuple(outs)

    def train(self, mode: bool = True) -> 'PVT':
        """Switch between training and evaluation; what is frozen stays in evaluation."""
        super().train(mode)
        self._freeze()
        return self

    def _freeze(self) -> None:
        frozen = list(self.stages[: max(self.frozen_stages, 0)])
        if self.frozen_stages == 0:
            frozen = [self.stages[0].patch_embed]
        for module in frozen:
            module.eval()
            module.requires_grad_(False)


def published_state(state: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """Rename the keys of a published PVT classifier's state dict to those of :class:`PVT`.

    The classifier's own parts (class token and its position, final norm, head) are left out.
    """
    ours = {}
    for key, value in state.items():
        match = re.fullmatch(r'(pos_embed|patch_embed|block)(\d)(?:\.(.+))?', key)
        if match is None:
            continue
        part, number, rest = match.groups()
        name = {'block': 'blocks'}.get(part, part)
        ours['.'.join(filter(None, (f'stages.{int(number) - 1}', name, rest)))] = value
    last = max((key for key in ours if key.endswith('pos_embed')), default=None)
    if last is not None and 'cls_token' in state:
        ours[last] = ours[last][:, 1:]
    return ours


def _resolve_arch(arch: str | dict) -> dict:
    if isinstance(arch, str):
        if arch not in ARCHS:
            raise ValueError(f'unknown arch {arch!r}; choose one of {", ".join(ARCHS)}, or give a dict')
        return ARCHS[arch]
    if missing := sorted({*_STAGES, 'depths'} - set(arch)):
        raise ValueError(f'arch lacks {", ".join(missing)}')
    lengths = {key: len(arch[key]) for key in (*_STAGES, 'depths')}
    if len(set(lengths.values())) > 1:
        raise ValueError(f'arch needs one number a stage in every list, got lengths {lengths}')
    return arch
