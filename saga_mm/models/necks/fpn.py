"""SAGAFPN: a feature pyramid network whose levels share one state."""

from collections.abc import Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import nn

from saga_mm.foundation import BaseModule
from saga_mm.models.padding import Size
from saga_mm.registry import MODELS

from .shared_state import SharedState, check_maps

EXTRA_SOURCES = ('on_input', 'on_lateral', 'on_output')


@MODELS.register_module()
class SAGAFPN(BaseModule):
    """mmdet's FPN (Lin et al., CVPR 2017) with global attention across its levels before the top-down path.

    Arguments, outputs and names of parameters are those of mmdet's, so it stands wherever an FPN does, and a trained
    FPN's weights load. Until ``shared`` has learned something, it gives the same maps.

    Args:
        in_channels: Channels of each input map.
        out_channels: Channels of each output map.
        num_outs: Number of output maps; those beyond the inputs are made by stride 2 from the last.
        start_level: First input that is used.
        end_level: Last input that is used; -1 for the last there is.
        add_extra_convs: Make further levels by convolutions of the last ``'on_input'`` (or True), ``'on_lateral'`` or
            ``'on_output'`` map; False takes every second pixel of the last output.
        relu_before_extra_convs: ReLU before the second of these convolutions and the following ones.
        no_norm_on_lateral: No norm in the lateral convolutions.
        conv_cfg: Convolution layer, as in mmcv's ``ConvModule``.
        norm_cfg: Norm layer, alike.
        act_cfg: Activation layer, alike.
        upsample_cfg: Arguments of ``F.interpolate`` in the top-down path.
        embed_dims: Channels in which the levels attend.
        num_heads: Heads; must divide ``embed_dims``.
        attention: A name or a dict with ``type`` and its options.
        init_cfg: Initialisation config of mmengine.

    Raises:
        ValueError: If an argument does not fit.
    """

    def __init__(
        self,
        in_channels: Sequence[int],
        out_channels: int,
        num_outs: int,
        start_level: int = 0,
        end_level: int = -1,
        add_extra_convs: bool | str = False,
        relu_before_extra_convs: bool = False,
        no_norm_on_lateral: bool = False,
        conv_cfg: dict | None = None,
        norm_cfg: dict | None = None,
        act_cfg: dict | None = None,
        upsample_cfg: dict[str, Any] | None = None,
        embed_dims: int = 128,
        num_heads: int = 4,
        attention: str | dict = 'saga',
        init_cfg: dict | list[dict] | None = None,
    ) -> None:
        # mmcv is asked for by those who build this neck alone
        from mmcv.cnn import ConvModule

        super().__init__(init_cfg or dict(type='Xavier', layer='Conv2d', distribution='uniform'))
        stop = _stop_level(len(in_channels), num_outs, start_level, end_level)
        if add_extra_convs not in (False, True, *EXTRA_SOURCES):
            raise ValueError(f'unknown add_extra_convs={add_extra_convs!r}; choose one of {EXTRA_SOURCES}, or a bool')
        self.in_channels = list(in_channels)
        self.start_level, self.stop_level = start_level, stop
        self.num_outs = num_outs
        self.extra_source = 'on_input' if add_extra_convs is True else add_extra_convs
        self.relu_before_extra_convs = relu_before_extra_convs
        self.upsample_cfg = {'mode': 'nearest'} if upsample_cfg is None else dict(upsample_cfg)
        used = self.in_channels[start_level:stop]
        layers = {'conv_cfg': conv_cfg, 'norm_cfg': norm_cfg, 'act_cfg': act_cfg, 'inplace': False}
        lateral = {**layers, 'norm_cfg': None} if no_norm_on_lateral else layers
        self.lateral_convs = nn.ModuleList(ConvModule(channels, out_channels, 1, **lateral) for channels in used)
        self.fpn_convs = nn.ModuleList(ConvModule(out_channels, out_channels, 3, padding=1, **layers) for _ in used)
        for i in range(num_outs - len(used) if self.extra_source else 0):
            channels = used[-1] if i == 0 and self.extra_source == 'on_input' else out_channels
            self.fpn_convs.append(ConvModule(channels, out_channels, 3, stride=2, padding=1, **layers))
        self.shared = SharedState([out_channels] * len(used), embed_dims, num_heads, attention)

    def init_weights(self) -> None:
        """Do what ``init_cfg`` says; only a checkpoint reaches the shared state, which starts as it was built."""
        # mmengine's would draw the convolutions of the shared state as those of the FPN
        shared = {name: value.clone() for name, value in self.shared.state_dict().items()}
        super().init_weights()
        given = self.init_cfg if isinstance(self.init_cfg, list) else [self.init_cfg]
        if all(cfg['type'] != 'Pretrained' for cfg in given):
            self.shared.load_state_dict(shared)

    def forward(self, inputs: Sequence[torch.Tensor], sizes: Sequence[Size] | None = None) -> tuple[torch.Tensor, ...]:
        """Maps ``(B, in_channels[i], H_i, W_i)`` of a backbone, to ``num_outs`` maps of ``out_channels``.

        Args:
            inputs: The maps.
            sizes: As of :class:`SharedState`. Convolutions see what is beside a picture, as those of mmdet's FPN do.

        Raises:
            ValueError: If there are not as many maps as ``in_channels``, or their channels are others, or ``sizes``
                do not fit them.
        """
        check_maps(inputs, self.in_channels)
        used = inputs[self.start_level : self.stop_level]
        # before the top-down path, so that what a level learns of the others reaches the finer ones too
        laterals = self.shared([conv(x) for conv, x in zip(self.lateral_convs, used)], sizes)
        for i in range(len(laterals) - 1, 0, -1):
            # to the size of the finer map: twice a side that was rounded up is one too many
            size = {} if 'scale_factor' in self.upsample_cfg else {'size': laterals[i - 1].shape[2:]}
            laterals[i - 1] = laterals[i - 1] + F.interpolate(laterals[i], **size, **self.upsample_cfg)
        outs = [conv(x) for conv, x in zip(self.fpn_convs, laterals)]
        # 'on_input': of the last level that is used, as in mmdet, even where the backbone gives later ones
        sources = {'on_input': used[-1], 'on_lateral': laterals[-1], 'on_output': outs[-1]}
        for i in range(len(used), self.num_outs):
            if not self.extra_source:
                outs.append(F.max_pool2d(outs[-1], 1, stride=2))
                continue
            x = sources[self.extra_source] if i == len(used) else outs[-1]
            outs.append(self.fpn_convs[i](F.relu(x) if self.relu_before_extra_convs and i > len(used) else x))
        return tuple(outs)


def _stop_level(num_ins: int, num_outs: int, start_level: int, end_level: int) -> int:
    """The level after the last that is used."""
    if not 0 <= start_level < num_ins or not -1 <= end_level < num_ins:
        raise ValueError(f'start_level={start_level} and end_level={end_level} must be levels of the {num_ins} inputs')
    last = num_ins - 1 if end_level == -1 else end_level
    used = last + 1 - start_level
    if used < 1 or num_outs < used:
        raise ValueError(f'num_outs={num_outs} is fewer than the {used} levels from {start_level} to {last}')
    if last < num_ins - 1 and num_outs > used:
        raise ValueError(f'end_level={end_level} allows for {used} outputs, one for each level used, not {num_outs}')
    return last + 1
