"""Backbones so small that the graph of one is captured in seconds."""

from collections.abc import Callable, Sequence
from typing import Any

import pytest
import torch
from torch import nn

from saga_mm.registry import MODELS

EXTRA: dict[str, tuple[dict[str, tuple], dict[str, Any]]] = {
    'PVT': ({'mlp_ratios': (2, 2), 'sr_ratios': (4, 2)}, {'pretrain_img_size': 96}),
    'PVTv2': ({'mlp_ratios': (2, 2), 'sr_ratios': (4, 2)}, {'pretrain_img_size': 96}),
    'Swin': ({}, {'window_size': 4, 'mlp_ratio': 2, 'pretrain_img_size': 96}),
    'CSwin': ({'num_heads': (2, 2)}, {'stripe_widths': (3, 0), 'mlp_ratio': 2, 'pretrain_img_size': 96}),
    'RAVLT': ({'mlp_ratios': (2, 2), 'layer_scales': (1.0, 1.0)}, {}),
}


@pytest.fixture(scope='session')
def small_backbone() -> Callable[..., nn.Module]:
    """Build a host by name with a mixer for each of one or two stages, in evaluation mode, all parameters in use."""

    def build(host: str, attention: Sequence[str | dict]) -> nn.Module:
        stages = len(attention)
        numbers, options = EXTRA[host]
        arch = {'embed_dims': (8, 16), 'depths': (1, 1), 'num_heads': (1, 2), **numbers}
        arch = {key: value[:stages] for key, value in arch.items()}
        options = {key: value[:stages] if isinstance(value, tuple) else value for key, value in options.items()}
        torch.manual_seed(0)
        net = MODELS.get(host)(arch=arch, attention=list(attention), out_indices=range(stages), **options)
        for parameter in net.parameters():
            parameter.data += 0.05 * torch.randn_like(parameter)
        return net.eval()

    return build
