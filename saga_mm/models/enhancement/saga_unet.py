"""SAGAUNet: a U-shaped trunk for image enhancement with global attention at linear cost."""

from collections.abc import Mapping
from typing import Any

import torch
from torch import nn

from saga_mm.foundation import BaseModule
from saga_mm.models.backbones.pyramid_backbone import Attention, resolve_arch
from saga_mm.models.backbones.stage import Stage
from saga_mm.models.openmmlab.layer_steps import SumRows
from saga_mm.registry import MODELS
from saga_mm.rows import Part, RowRunner, Rows

from .rows import UpsampledRows
from .unet_layers import Downsample, GlobalTone, Lift, Tokens, Upsample, make_block

ARCHS: dict[str, dict[str, Any]] = {
    'base': {'embed_dims': (32, 64, 128), 'depths': (2, 2, 5), 'num_heads': (0, 2, 4), 'mlp_ratio': 2},
    'tiny': {'embed_dims': (16, 32, 64), 'depths': (1, 1, 3), 'num_heads': (0, 1, 2), 'mlp_ratio': 2},
}


@MODELS.register_module()
class SAGAUNet(BaseModule):
    """Encoder and decoder at strides 2, 4, 8 of an image, joined by sums; one map at stride 2 comes out.

    Levels without heads are convolutional feed-forwards alone; the others have global attention before each. At the
    coarsest level a mean over the whole image sets scale and shift of every channel, so that tone is decided once for
    the image. Beside the image its square root comes in, in which dark tones are apart.

    Args:
        arch: ``'base'`` or ``'tiny'``, or a dict with ``embed_dims``, ``depths`` (blocks of a level in the encoder;
            the decoder has as many, at all levels but the last), ``num_heads`` (0 for no attention) and ``mlp_ratio``.
        attention: Of the levels with heads: a name, or a dict with options. PVT's ``'softmax'`` takes
            ``sr_ratio`` as an option.
        init_cfg: Initialisation config of mmengine.

    Attributes:
        out_channels: Channels of the map that comes out, in a list as necks and heads want it.
        strides: Its stride, in a list.

    Raises:
        ValueError: If ``arch`` or ``attention`` is unknown.
    """

    def __init__(
        self, arch: str | Mapping = 'base', attention: Attention = 'saga', init_cfg: dict | list[dict] | None = None
    ) -> None:
        super().__init__(init_cfg)
        numbers = resolve_arch(arch, ARCHS)
        dims, depths, heads, ratio = (numbers[key] for key in ('embed_dims', 'depths', 'num_heads', 'mlp_ratio'))

        def blocks(level: int) -> list[nn.Module]:
            return [
                make_block(dims[level], heads[level], int(ratio * dims[level]), attention) for _ in range(depths[level])
            ]

        levels = range(len(dims))
        downs = [Downsample(dims[i - 1], dims[i]) if i else Lift(3, dims[0]) for i in levels]
        tone = [GlobalTone(dims[-1])]
        self.encoder = nn.ModuleList(Stage(downs[i], blocks(i) + tone * (i == levels[-1])) for i in levels)
        self.ups = nn.ModuleList(Upsample(dims[i + 1], dims[i]) for i in levels[-2::-1])
        self.decoder = nn.ModuleList(Stage(Tokens(dims[i]), blocks(i)) for i in levels[-2::-1])
        self.out_channels, self.strides = [dims[0]], [2]

    def forward(self, image: torch.Tensor) -> tuple[torch.Tensor]:
        """Map ``(B, embed_dims[0], ceil(H / 2), ceil(W / 2))`` of an image batch ``(B, 3, H, W)`` in [0, 1]."""
        x, skips = image, []
        for stage in self.encoder:
            x = stage(x)
            skips.append(x)
        skips.pop()
        for up, stage in zip(self.ups, self.decoder):
            skip = skips.pop()
            x = stage(up(x, skip.shape[2:]) + skip)
        return (x,)

    def parts(self, height: int, width: int) -> list[Part]:
        """The stages' steps, for an image of this size; see :func:`saga_mm.rows.plan_runner`."""
        sizes = [(height, width)]
        for _ in self.encoder:
            sizes.append(tuple(-(-side // 2) for side in sizes[-1]))
        encoder = [Part(stage.steps, *size) for stage, size in zip(self.encoder, sizes)]
        return encoder + [Part(stage.steps, *size) for stage, size in zip(self.decoder, sizes[-2:0:-1])]

    def forward_rows(self, image: Rows, runner: RowRunner) -> list[Rows]:
        """As :meth:`forward`, in strips of rows: the same map, to be asked for rows.

        Raises:
            ValueError: If the model is not in evaluation mode, where all layers work row by row.
        """
        if self.training and not runner.trains:
            raise ValueError('in strips a model runs in evaluation mode alone; call eval() first')
        x, skips = image, []
        for stage in self.encoder:
            x = runner.run(stage.steps, x)
            skips.append(x)
        skips.pop()
        for up, stage in zip(self.ups, self.decoder):
            skip = skips.pop()
            large = UpsampledRows(x, up, (skip.height, skip.width), 2, runner.engine)
            x = runner.run(stage.steps, SumRows(large, skip))
        return [x]
