"""Bytes that must be moved, however it is computed: what times are held against, beside the arithmetic.

Inside a part everything may be fused; between parts, tensors are in memory. Attention must see all tokens, once in each
of its sweeps, before it can answer the first query: it reads its input once more than it has sweeps, and writes its
output once. Backward, where states are kept and all else is computed again, its input and the gradient of its output
are read as often, and the gradient of its input is written.
"""

from __future__ import annotations

from torch import nn

from saga_mm.models.backbones.pyramid_backbone import PyramidBackbone

from .cases import Size

IMAGE_CHANNELS = 3


def weight_bytes(module: nn.Module, backward: bool) -> int:
    """Parameters read once; for a backward pass read again, and their gradients written."""
    return (3 if backward else 1) * sum(p.numel() * p.element_size() for p in module.parameters())


def attention_passes(sweeps: int, backward: bool) -> int:
    """How often a token's channels are moved by an attention layer of so many sweeps, or a block around one."""
    forward = sweeps + 2
    return forward + 2 * (sweeps + 1) + 1 if backward else forward


def backbone_bytes(net: PyramidBackbone, batch: int, size: Size, itemsize: int, backward: bool) -> int:
    """Bytes of a pyramid whose blocks are fused each: attention and feed-forward share their reads and writes.

    Args:
        net: The backbone.
        batch: Images.
        size: ``(H, W)`` of the images.
        itemsize: Bytes of a number.
        backward: Count the backward pass too.
    """
    numbers, channels = 0, IMAGE_CHANNELS
    height, width = size
    for i, stage in enumerate(net.stages):
        before = batch * channels * height * width
        height, width = (-(-side // stage.embed.stride) for side in (height, width))
        channels = net.embed_dims[i]
        tokens = batch * channels * height * width
        numbers += before + tokens
        if backward:
            # the image needs no gradient
            numbers += tokens + (2 * before if i else before)
        numbers += tokens * sum(attention_passes(block.attn.sweeps, backward) for block in stage.blocks)
    return numbers * itemsize + weight_bytes(net, backward)
