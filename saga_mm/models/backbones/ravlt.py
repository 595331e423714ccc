"""RAVLT, the Rank-Augmented Vision Linear Transformer (Fan et al., CVPR 2025), with any attention."""

import re
from collections.abc import Sequence
from typing import Any

import torch
from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm

from saga_mm.models.init import init_truncated
from saga_mm.ops import Grid, map_to_tokens, tokens_to_map
from saga_mm.registry import MODELS
from saga_mm.rows import LocalStep, RowStep

from .blocks import DropPath, MixerBlock
from .conv_embed import ConvEmbed
from .pyramid_backbone import Attention, PyramidBackbone, drop_path_rates, resolve_arch
from .stage import Stage

HYBRID = ('rala', 'rala', 'softmax', 'softmax')
_WIDTH = {'num_heads': (1, 2, 4, 8), 'mlp_ratios': (3.5,) * 4, 'layer_scales': (1.0,) * 4}
ARCHS: dict[str, dict[str, tuple[float, ...]]] = {
    'tiny': {**_WIDTH, 'embed_dims': (64, 128, 256, 512), 'depths': (2, 2, 6, 2)},
    'small': {**_WIDTH, 'embed_dims': (64, 128, 320, 512), 'depths': (3, 5, 9, 3), 'num_heads': (1, 2, 5, 8)},
    'base': {
        **_WIDTH,
        'embed_dims': (96, 192, 384, 512),
        'depths': (4, 6, 12, 6),
        'num_heads': (1, 2, 6, 8),
        'layer_scales': (1.0, 1.0, 1e-6, 1e-6),
    },
    'large': {
        **_WIDTH,
        'embed_dims': (96, 192, 448, 640),
        'depths': (4, 7, 19, 8),
        'num_heads': (1, 2, 7, 10),
        'layer_scales': (1e-6,) * 4,
    },
}
_DROP_PATH = {'tiny': 0.1, 'small': 0.15, 'base': 0.4, 'large': 0.55}
VARIANTS: dict[str, dict[str, Any]] = {
    f'{prefix}ravlt_{arch}': {'type': 'RAVLT', 'arch': arch, 'attention': attention, 'drop_path_rate': rate}
    for prefix, attention in (('', HYBRID), ('saga_', ('saga', 'saga', 'softmax', 'softmax')))
    for arch, rate in _DROP_PATH.items()
}


class RAVLTFeedForward(nn.Module):
    """Two linear layers with a GELU and a residual depthwise 3x3 convolution between, on tokens ``(B, N, C)``."""

    halo = 1

    def __init__(self, embed_dims: int, hidden_dims: int) -> None:
        super().__init__()
        self.hidden_dims = hidden_dims
        self.fc1 = nn.Linear(embed_dims, hidden_dims)
        self.act = nn.GELU()
        self.dwconv = nn.Conv2d(hidden_dims, hidden_dims, 3, padding=1, groups=hidden_dims)
        self.fc2 = nn.Linear(hidden_dims, embed_dims)
        self.apply(init_truncated)

    def forward(self, x: torch.Tensor, grid: Grid) -> torch.Tensor:
        x = self.act(self.fc1(x))
        # behind the GELU and beside a residual, unlike PVTv2's
        return self.fc2(x + map_to_tokens(self.dwconv(tokens_to_map(x, grid))))


class RAVLTBlock(MixerBlock):
    """A positional convolution, then attention and feed-forward, each behind a norm and around a scaled residual."""

    def __init__(
        self, embed_dims: int, attention: nn.Module, mlp_ratio: float, drop_path: float, layer_scale: float
    ) -> None:
        super().__init__()
        self.pos = nn.Conv2d(embed_dims, embed_dims, 3, padding=1, groups=embed_dims)
        init_truncated(self.pos)
        # not PyTorch's 1e-5: published weights were trained with this
        self.norm1 = nn.LayerNorm(embed_dims, eps=1e-6)
        self.attn = attention
        self.norm2 = nn.LayerNorm(embed_dims, eps=1e-6)
        self.ffn = RAVLTFeedForward(embed_dims, int(embed_dims * mlp_ratio))
        # LayerScale (Touvron et al., ICCV 2021): from 1e-6 on, the blocks of deep models start as the identity
        self.gamma_1 = nn.Parameter(torch.full((embed_dims,), layer_scale))
        self.gamma_2 = nn.Parameter(torch.full((embed_dims,), layer_scale))
        self.drop_path = DropPath(drop_path)

    @property
    def feed_forward(self) -> RAVLTFeedForward:
        return self.ffn

    @property
    def steps(self) -> list[RowStep]:
        # a step of its own: the state is written from its output, and writing has no halo
        return [LocalStep(self.locate, 4 * self.pos.in_channels, reach=1, modules=[self.pos], label='position'), self]

    def locate(self, x: torch.Tensor, grid: Grid) -> tuple[torch.Tensor, Grid]:
        """Add the positional convolution."""
        return x + map_to_tokens(self.pos(tokens_to_map(x, grid))), grid

    def forward(self, x: torch.Tensor, grid: Grid) -> torch.Tensor:
        return super().forward(*self.locate(x, grid))

    def join(self, x: torch.Tensor, mixed: torch.Tensor) -> torch.Tensor:
        return x + self.drop_path(self.gamma_1 * mixed)

    def feed(self, x: torch.Tensor, grid: Grid) -> torch.Tensor:
        return x + self.drop_path(self.gamma_2 * self.ffn(self.norm2(x), grid))


@MODELS.register_module()
class RAVLT(PyramidBackbone):
    """Pyramid of four convolutional-attention stages at strides 4, 8, 16 and 32, for images of any size.

    The published model is a hybrid: rank-augmented linear attention in stages 1 and 2, softmax attention in 3 and 4.
    Each output passes a norm that the next stage does not see, as in the published detection backbone.

    Args:
        arch: ``'tiny'``, ``'small'``, ``'base'``, ``'large'``, or a dict with ``embed_dims``, ``depths``,
            ``num_heads``, ``mlp_ratios`` and ``layer_scales`` (where the residual scales start), one number a stage.
        attention: A name (``'rala'``, ``'saga'``, ``'softmax'``), a dict with ``type`` and its options,
            or a list of these with one a stage. ``'softmax'`` is global attention with 2-D RoPE here.
        in_channels: Channels of the image.
        qkv_bias: Biases in the projections of queries, keys, values and output gate.
        drop_path_rate: Largest rate of stochastic depth; it grows linearly from 0 over the blocks.
        out_indices: Stages whose maps are returned.
        frozen_stages: -1 freezes nothing, 0 the stem, n the first n stages. What is frozen also stays in eval mode.
        with_cp: Recompute each block in the backward pass instead of keeping its activations.
        norm_cfg: Batch norm of the convolutions: ``type`` is ``'BN'``, or ``'SyncBN'`` for few images a GPU on
            several GPUs; other keys (``eps``, ``momentum``) go to the layer.
        norm_eval: Keep all batch norms in eval mode while training, so that their statistics stay.
        out_norm: Norms of the outputs, as in the published detection backbone; the classifier has none.
        init_cfg: Initialisation config of mmengine, such as ``dict(type='Pretrained', checkpoint=...)``.

    Raises:
        ValueError: If ``arch``, ``attention`` or ``norm_cfg`` is unknown or an argument does not fit the number of
            stages.
    """

    softmax = 'rope_softmax'

    def __init__(
        self,
        arch: str | dict = 'tiny',
        attention: Attention = HYBRID,
        in_channels: int = 3,
        qkv_bias: bool = True,
        drop_path_rate: float = 0.1,
        out_indices: Sequence[int] = (0, 1, 2, 3),
        frozen_stages: int = -1,
        with_cp: bool = False,
        norm_cfg: dict[str, Any] | None = None,
        norm_eval: bool = False,
        out_norm: bool = True,
        init_cfg: dict | list[dict] | None = None,
    ) -> None:
        arch = resolve_arch(arch, ARCHS)
        super().__init__(arch['embed_dims'], attention, out_indices, frozen_stages, init_cfg)
        self.norm_eval = norm_eval
        norm_cfg = norm_cfg or {'type': 'BN'}
        for i, rates in enumerate(drop_path_rates(drop_path_rate, arch['depths'])):
            dims = self.embed_dims[i]
            if i == 0:
                embed = ConvEmbed((in_channels, dims // 2, dims // 2, dims // 2, dims), (2, 1, 1, 2), norm_cfg)
            else:
                embed = ConvEmbed((self.embed_dims[i - 1], dims), (2,), norm_cfg)
            blocks = [
                RAVLTBlock(
                    dims,
                    self.build_mixer(i, arch['num_heads'][i], qkv_bias=qkv_bias),
                    arch['mlp_ratios'][i],
                    rate,
                    arch['layer_scales'][i],
                )
                for rate in rates
            ]
            self.stages.append(Stage(embed, blocks, with_cp=with_cp))
        if out_norm:
            self.add_out_norms(eps=1e-6)
        self.freeze()

    def freeze(self) -> None:
        """Freeze what ``frozen_stages`` and ``norm_eval`` say."""
        super().freeze()
        # statistics alone: scales and shifts go on learning
        if self.norm_eval:
            for module in self.modules():
                if isinstance(module, _BatchNorm):
                    module.eval()


def published_state(state: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """Rename the keys of a published RAVLT state dict, classifier or dense backbone, to those of :class:`RAVLT`.

    Fused projections are cut into q, kv and gate, and 1x1 convolutions become linear layers. The classifier's own
    parts (``proj``, ``norm``, ``head``) and the computed RoPE angles are left out; the norms of the outputs are there
    only if the file is of a dense backbone.
    """
    ours = {}
    for key, value in state.items():
        if key.startswith('patch_embed.'):
            ours['stages.0.embed' + key.removeprefix('patch_embed')] = value
        elif match := re.fullmatch(r'extra_norms\.(\d+)\.norm\.(\w+)', key):
            ours['out_norms.{}.{}'.format(*match.groups())] = value
        elif match := re.fullmatch(r'layers\.(\d+)\.downsample\.(reduction|norm)\.(\w+)', key):
            stage, part, leaf = match.groups()
            ours[f'stages.{int(stage) + 1}.embed.proj.{int(part == "norm")}.{leaf}'] = value
        elif match := re.fullmatch(r'layers\.(\d+)\.blocks\.(\d+)\.(.+)', key):
            stage, block, rest = match.groups()
            for name, part in _published_block(rest, value):
                ours[f'stages.{stage}.blocks.{block}.{name}'] = part
    return ours


def _published_block(name: str, value: torch.Tensor) -> list[tuple[str, torch.Tensor]]:
    if name.startswith('gamma_'):
        return [(name, value.flatten())]
    name = re.sub(r'^(norm\d)\.norm\.', r'\1.', name)
    # their 1 x 1 convolutions are linear layers here
    if value.ndim == 4 and re.match(r'attn\.(qkvo|proj)|ffn\.fc', name):
        value = value.flatten(1)
    if not name.startswith('attn.qkvo'):
        return [(name, value)]
    # one product makes q, k, v and the gate there, in this order of its rows
    dims = len(value) // 4
    parts = zip(('q', 'kv', 'gate'), value.split((dims, 2 * dims, dims)), strict=True)
    return [(name.replace('qkvo', part), rows) for part, rows in parts]
