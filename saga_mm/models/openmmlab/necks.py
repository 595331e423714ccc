"""Necks in strips of rows."""

from collections.abc import Sequence

from torch import nn

from saga_mm.models.necks import SharedState
from saga_mm.rows import RowRunner, Rows

from .layer_steps import ResizedRows, SumRows, conv_steps, keep_step


def neck_rows(neck: nn.Module, maps: Sequence[Rows], runner: RowRunner) -> list[Rows]:
    """What ``neck`` makes of a backbone's maps.

    Raises:
        ValueError: If the neck, or a part of it, does not run in strips.
    """
    if isinstance(neck, SharedState):
        return neck.forward_rows(maps, runner)
    if type(neck).__name__ in ('FPN', 'SAGAFPN'):
        if neck.num_outs != len(neck.lateral_convs):
            raise ValueError(f'{type(neck).__name__} runs in strips with num_outs={len(neck.lateral_convs)} alone')
        return fpn_levels(neck, maps, runner)
    raise ValueError(f'the neck {type(neck).__name__} does not run in strips; SAGAPyramid, SAGAFPN and FPN do')


def fpn_levels(neck: nn.Module, maps: Sequence[Rows], runner: RowRunner) -> list[Rows]:
    """The levels of an FPN that stand on a map of the backbone each, without further ones.

    Raises:
        ValueError: A part of it does not run in strips.
    """
    count = len(neck.lateral_convs)
    if 'scale_factor' in neck.upsample_cfg:
        raise ValueError(f'{type(neck).__name__} does not run in strips with a scale_factor')
    maps = maps[neck.start_level : neck.start_level + count]
    laterals = [runner.run(conv_steps(conv), x) for conv, x in zip(neck.lateral_convs, maps, strict=True)]
    if isinstance(shared := getattr(neck, 'shared', None), SharedState):
        laterals = shared.forward_rows(laterals, runner)
    keep = keep_step(neck.lateral_convs[0].out_channels)
    for i in range(count - 1, 0, -1):
        size = laterals[i - 1].height, laterals[i - 1].width
        coarse = ResizedRows(laterals[i], size, **neck.upsample_cfg)
        laterals[i - 1] = runner.run([keep], SumRows(laterals[i - 1], coarse))
    return [runner.run(conv_steps(conv), x) for conv, x in zip(neck.fpn_convs, laterals)]
