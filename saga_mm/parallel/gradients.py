"""Gradients of a model whose images are divided into bands."""

from __future__ import annotations

from collections.abc import Iterable

import torch
from torch import nn

from .mesh import Mesh

# numbers that are summed at once
BUCKET = 2**23


@torch.no_grad()
def sum_gradients(parameters: Iterable[nn.Parameter], mesh: Mesh) -> None:
    """Sum the gradients of all bands, and take the mean over the images that were done at once.

    To be called on all processes after ``backward`` and before a step of the optimizer.

    Args:
        parameters: Those that train, in the same order on all processes.
        mesh: The processes.
    """
    world = mesh.everybody()
    if world.bands == 1:
        return
    parameters = [parameter for parameter in parameters if parameter.requires_grad]
    # where processes had gradients of different parameters, they would wait for each other
    _fill(parameters, world)
    # one exchange for each parameter would mostly wait; one for all would hold all gradients twice
    bucket: list[nn.Parameter] = []
    for parameter in parameters:
        if parameter.grad is None:
            continue
        if bucket and (
            sum(other.numel() for other in bucket) + parameter.numel() > BUCKET
            or bucket[0].grad.dtype != parameter.grad.dtype
        ):
            _sum(bucket, mesh, world)
            bucket = []
        bucket.append(parameter)
    if bucket:
        _sum(bucket, mesh, world)


def _fill(parameters: list[nn.Parameter], world: Mesh) -> None:
    """Give a gradient of zero to parameters that only images of other processes have used."""
    if not parameters:
        return
    used = torch.tensor([parameter.grad is not None for parameter in parameters], device=parameters[0].device)
    for parameter, count in zip(parameters, world.add(used.float(), 'gradient').tolist()):
        if count and parameter.grad is None:
            parameter.grad = torch.zeros_like(parameter)


def _sum(bucket: list[nn.Parameter], mesh: Mesh, world: Mesh) -> None:
    """Give these parameters views of one tensor of sums as gradients."""
    total = torch.cat([parameter.grad.flatten() for parameter in bucket])
    world.add_into(total, 'gradient')
    # losses of bands add up to that of their image; of several images the mean is meant
    if mesh.replicas > 1:
        total /= mesh.replicas
    for parameter, part in zip(bucket, total.split([parameter.numel() for parameter in bucket])):
        parameter.grad = part.view_as(parameter)
