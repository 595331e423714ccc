"""Small models for the engines."""

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import nn

from saga_mm.engines.cache import StepCache
from saga_mm.models.backbones import PVT, RAVLT, CSwin, PVTv2, Swin

SMALL = {'embed_dims': (16, 32), 'depths': (1, 1), 'num_heads': (1, 2), 'mlp_ratios': (2, 2)}
# the second block of a stage shifts its windows
WINDOWS = {'embed_dims': (16, 32), 'depths': (1, 2), 'num_heads': (1, 2)}
# class, sizes of its stages, and options
HOSTS: dict[str, tuple[type[nn.Module], dict[str, tuple], dict[str, Any]]] = {
    # with a block after another one
    'pvt': (PVT, {**SMALL, 'depths': (1, 2), 'sr_ratios': (2, 1)}, {'pretrain_img_size': 32}),
    'pvt_v2': (PVTv2, {**SMALL, 'sr_ratios': (2, 1)}, {}),
    'swin': (Swin, WINDOWS, {'window_size': 3}),
    'cswin': (CSwin, WINDOWS | {'depths': (1, 1)}, {'stripe_widths': (1, 0), 'pretrain_img_size': 32}),
    'ravlt': (RAVLT, {**SMALL, 'layer_scales': (1.0, 1.0)}, {}),
}


def build_host(host: str, attention: str | dict | list, stages: int = 2) -> nn.Module:
    """A small backbone with weights that are not at their start, in evaluation mode."""
    cls, arch, options = HOSTS[host]
    arch = {name: numbers[:stages] for name, numbers in arch.items()}
    net = cls(arch, attention=attention, out_indices=tuple(range(stages)), **options).eval()
    with torch.no_grad():
        for weight in net.parameters():
            if weight.ndim == 1:
                weight.add_(0.1 * torch.randn_like(weight))
    return net


@pytest.fixture
def host() -> Callable[..., nn.Module]:
    return build_host


@pytest.fixture
def cache(tmp_path) -> StepCache:
    return StepCache(tmp_path / 'steps')


@pytest.fixture(scope='session')
def warm_cache(tmp_path_factory) -> StepCache:
    """A cache for tests that are not about compiling: what another one has compiled is there."""
    return StepCache(tmp_path_factory.mktemp('steps'))
