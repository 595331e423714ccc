"""PVTv2 (Wang et al., CVMJ 2022), with any attention."""

from typing import Any

import torch
from torch import nn

from saga_mm.models.init import init_weights
from saga_mm.ops import Grid, map_to_tokens, repeat_edges, tokens_to_map
from saga_mm.registry import MODELS

from .blocks import FeedForward
from .pvt import PVT, STAGES, rename_stages, variants
from .pyramid_backbone import Attention

ARCHS: dict[str, dict[str, tuple[int, ...]]] = {
    'b0': {**STAGES, 'depths': (2, 2, 2, 2), 'embed_dims': (32, 64, 160, 256)},
    'b1': {**STAGES, 'depths': (2, 2, 2, 2)},
    'b2': {**STAGES, 'depths': (3, 4, 6, 3)},
    'b3': {**STAGES, 'depths': (3, 4, 18, 3)},
    'b4': {**STAGES, 'depths': (3, 8, 27, 3)},
    'b5': {**STAGES, 'depths': (3, 6, 40, 3), 'mlp_ratios': (4, 4, 4, 4)},
}
# flatten_pvt_v2_b5 is in the published code without a rate; it takes b4's
VARIANTS = variants('PVTv2', 'pvt_v2', {'b0': 0.1, 'b1': 0.1, 'b2': 0.1, 'b3': 0.3, 'b4': 0.3, 'b5': 0.3})


class ConvFeedForward(FeedForward):
    """A feed-forward with a depthwise 3 x 3 convolution before its GELU, which tells tokens where they stand.

    Attributes:
        repeats_edges: Whether the convolution sees the outermost rows and columns of a map beyond its edges, not zeros.
    """

    halo = 1
    repeats_edges: bool = False

    def __init__(self, embed_dims: int, hidden_dims: int) -> None:
        super().__init__(embed_dims, hidden_dims)
        self.dwconv = nn.Conv2d(hidden_dims, hidden_dims, 3, padding=1, groups=hidden_dims)
        init_weights(self.dwconv)

    def repeat_edges(self) -> None:
        """Repeat the edges of maps from now on."""
        self.repeats_edges, self.dwconv.padding = True, (0, 0)

    def forward(self, x: torch.Tensor, grid: Grid) -> torch.Tensor:
        if self.repeats_edges:
            # before the layer that makes more channels of each token: fewer numbers are copied
            x, grid = repeat_edges(x, grid, 1)
        # before it is tokens again: compiled graphs then make one layer of both
        plane = self.act(self.dwconv(tokens_to_map(self.fc1(x), grid)))
        return self.fc2(map_to_tokens(plane))


@MODELS.register_module()
class PVTv2(PVT):
    """Pyramid of four stages at strides 4, 8, 16 and 32 with overlapping patches and convolutional feed-forwards.

    No learned positions, so nothing but attention depends on the image size that it was trained at; each stage ends
    in a norm.

    Args:
        arch: ``'b0'`` to ``'b5'``, or a dict with ``embed_dims``, ``depths``, ``num_heads``, ``mlp_ratios`` and
            ``sr_ratios``, one number a stage each.
        attention: One for all stages, or one for each stage, as in :class:`PVT`.
        options: Other arguments of :class:`PVT`, but ``class_token``: the feed-forwards look at neighbours.

    Raises:
        ValueError: If ``arch`` or ``attention`` is unknown or an argument does not fit the number of stages.
    """

    archs = ARCHS
    overlap = True
    feed_forward = ConvFeedForward

    def __init__(self, arch: str | dict = 'b0', attention: Attention = 'saga', **options: Any) -> None:
        super().__init__(arch, attention, **options)

    @staticmethod
    def stage_parts(embed_dims: int, size: tuple[int, int]) -> dict[str, nn.Module]:
        return {'norm': nn.LayerNorm(embed_dims, eps=1e-6)}


def published_state(state: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """Rename the keys of a published PVTv2 or FLatten-PVTv2 classifier's state dict to those of :class:`PVTv2`.

    The head is left out.
    """
    ours = rename_stages(state, {'patch_embed': 'embed', 'block': 'blocks', 'norm': 'norm'})
    return {key.replace('.dwconv.dwconv.', '.dwconv.'): value for key, value in ours.items()}
