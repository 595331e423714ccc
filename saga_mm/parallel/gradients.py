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
    _fill(parameters, world)
    bucket: list[torch.Tensor] = []
    for parameter in parameters:
        if parameter.grad is None:
            continue
        if bucket and (
            sum(grad.numel() for grad in bucket) + parameter.grad.numel() > BUCKET
            or bucket[0].dtype != parameter.grad.dtype
        ):
            _sum(bucket, mesh, world)
            bucket = []
        bucket.append(parameter.grad)
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


def _sum(bucket: list[torch.Tensor], mesh: Mesh, world: Mesh) -> None:
    total = world.add(torch.cat([grad.flatten() for grad in bucket]), 'gradient') / mesh.replicas
    for grad, part in zip(bucket, total.split([grad.numel() for grad in bucket])):
        grad.copy_(part.view_as(grad))
