"""Convolutions that see the outermost rows and columns of a map beyond its edges."""

import torch
import torch.nn.functional as F
from torch import nn

from saga_mm.models.backbones.pvt_v2 import ConvFeedForward


class EdgeConv2d(nn.Conv2d):
    """A convolution that repeats the edges of a map as it lies in memory as tokens, channels last.

    ``padding_mode='replicate'`` of PyTorch does the same for maps that lie channels first; compiled graphs then reorder
    the map before and after every convolution.
    """

    def _conv_forward(self, input: torch.Tensor, weight: torch.Tensor, bias: torch.Tensor | None) -> torch.Tensor:
        sides = self._reversed_padding_repeated_twice
        # the channels are a third side to pad, by nothing
        padded = F.pad(input.permute(0, 2, 3, 1)[None], (0, 0, *sides), mode='replicate')[0].permute(0, 3, 1, 2)
        return F.conv2d(padded, weight, bias, self.stride, 0, self.dilation, self.groups)


def use_repeated_edges(module: nn.Module) -> None:
    """Have all convolutions inside a module repeat the edges of maps."""
    for layer in module.modules():
        if isinstance(layer, ConvFeedForward):
            layer.repeat_edges()
        elif isinstance(layer, nn.Conv2d) and any(layer.padding):
            layer.padding_mode = 'replicate'
            # a subclass has its own way
            if type(layer) is nn.Conv2d:
                layer.__class__ = EdgeConv2d
