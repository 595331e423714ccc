"""Running statistics of batch norms, which each process of a training gathers from its own pictures."""

from __future__ import annotations

from collections.abc import Iterable
from itertools import chain

import torch
from mmengine.dist import all_reduce, get_world_size
from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm


def share_statistics(models: Iterable[nn.Module]) -> None:
    """Give all processes the mean of their running statistics.

    Otherwise each would validate with its own, and checkpoints would hold those of the first process: a figure that no
    checkpoint has. Every process has to call this. It does nothing where there is one process.

    Args:
        models: Models whose batch norms are meant, the same on all processes.
    """
    if get_world_size() == 1:
        return
    layers = [module for model in models for module in model.modules() if isinstance(module, _BatchNorm)]
    found = chain.from_iterable((layer.running_mean, layer.running_var) for layer in layers)
    values = [value for value in found if value is not None]
    if not values:
        return
    # statistics that are equal stay as they are, to the bit
    flat = torch.cat([value.flatten().double() for value in values])
    all_reduce(flat, op='mean')
    for value, mean in zip(values, flat.split([value.numel() for value in values])):
        value.copy_(mean.view_as(value))
