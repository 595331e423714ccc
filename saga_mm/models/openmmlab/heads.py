"""Segmentation heads of mmseg in strips of rows."""

from collections.abc import Sequence

import torch
from torch import nn

from saga_mm.ops import RowPool, map_to_tokens
from saga_mm.rows import AppliedRows, MemoryRows, RowRunner, Rows, RowStep

from .layer_steps import JoinedRows, ResizedRows, SumRows, conv_steps, keep_step


def head_rows(head: nn.Module, maps: Sequence[Rows], runner: RowRunner) -> Rows:
    """Class scores of a segmentation head, at the head's own resolution; computed when rows are asked for.

    Raises:
        ValueError: If the head, or a part of it, does not run in strips.
    """
    heads = {'UPerHead': _uper_rows, 'FPNHead': _fpn_head_rows, 'FCNHead': _fcn_rows}
    if type(head).__name__ not in heads:
        raise ValueError(f'the head {type(head).__name__} does not run in strips; {", ".join(heads)} do')
    indices = [head.in_index] if isinstance(head.in_index, int) else head.in_index
    maps = [maps[i] for i in indices]
    features = heads[type(head).__name__](head, maps, runner)

    def classify(x: torch.Tensor) -> torch.Tensor:
        # a 1 x 1 convolution: it is the same on tokens in one row
        x = x.transpose(1, 2).unsqueeze(2)
        if head.training and head.dropout is not None:
            x = head.dropout(x)
        return map_to_tokens(head.conv_seg(x))

    return AppliedRows(features, classify, [head.conv_seg], runner.engine)


class PoolStep(RowStep):
    """Adaptive average pooling to several sizes: a state that is written, and never read by rows."""

    sweeps = 1

    def __init__(self, sizes: Sequence[int], channels: int) -> None:
        self.pools = [RowPool(size) for size in sizes]
        self.channels, self.peak_floats_per_token = channels, 3.0 * channels

    def write(self, x, grid, state=None):
        return [pool.write(x, grid) for pool in self.pools]

    def merge(self, states):
        return [pool.merge(parts) for pool, parts in zip(self.pools, zip(*states))]


def _uper_rows(head: nn.Module, maps: Sequence[Rows], runner: RowRunner) -> Rows:
    def resized(rows: Rows, like: Rows) -> Rows:
        return ResizedRows(rows, (like.height, like.width), align_corners=head.align_corners)

    laterals = [runner.run(conv_steps(conv), x) for conv, x in zip(head.lateral_convs, maps)]
    laterals.append(_pooling_rows(head, maps[-1], runner))
    keep = keep_step(head.channels)
    for i in range(len(laterals) - 1, 0, -1):
        summed = SumRows(laterals[i - 1], resized(laterals[i], laterals[i - 1]))
        # kept: a sum that is computed on reading would resize all coarser levels again for each finer one
        laterals[i - 1] = runner.run([keep], summed)
    outs = [runner.run(conv_steps(conv), x) for conv, x in zip(head.fpn_convs, laterals)]
    outs.append(laterals[-1])
    # the memory of the laterals is free while the levels are joined
    del laterals
    joined = JoinedRows(outs[0], *(resized(x, outs[0]) for x in outs[1:]))
    return runner.run(conv_steps(head.fpn_bottleneck), joined)


def _pooling_rows(head: nn.Module, x: Rows, runner: RowRunner) -> Rows:
    """The pyramid pooling module: the map beside pooled ones, and a convolution."""
    step = PoolStep([module[0].output_size for module in head.psp_modules], head.in_channels[-1])
    levels: list[Rows] = [x]
    for plane, module in zip(runner.state(step, x), head.psp_modules):
        # each is a pooling layer and a 1 x 1 convolution
        # the sums of a pool are float32, whatever type the layers have
        pooled = module[1](plane.to(head.conv_seg.weight.dtype))
        small = MemoryRows(pooled.permute(0, 2, 3, 1))
        levels.append(ResizedRows(small, (x.height, x.width), align_corners=head.align_corners))
    return runner.run(conv_steps(head.bottleneck), JoinedRows(*levels))


def _fcn_rows(head: nn.Module, maps: Sequence[Rows], runner: RowRunner) -> Rows:
    if len(maps) > 1:
        raise ValueError(f'the head {type(head).__name__} runs in strips with one map alone, and in_index names more')
    x = maps[0]
    # of no convolutions, mmseg makes an identity, which is no sequence
    for conv in head.convs if head.num_convs else ():
        x = runner.run(conv_steps(conv), x)
    return runner.run(conv_steps(head.conv_cat), JoinedRows(maps[0], x)) if head.concat_input else x


def _fpn_head_rows(head: nn.Module, maps: Sequence[Rows], runner: RowRunner) -> Rows:
    total = None
    for layers, x in zip(head.scale_heads, maps):
        for layer in layers:
            if hasattr(layer, 'conv'):
                x = runner.run(conv_steps(layer), x)
            else:
                size = (int(x.height * layer.scale_factor), int(x.width * layer.scale_factor))
                x = ResizedRows(x, size, layer.mode, layer.align_corners)
        if total is None:
            total = x
            continue
        x = ResizedRows(x, (total.height, total.width), align_corners=head.align_corners)
        total = runner.run([keep_step(head.channels)], SumRows(total, x))
    return total
