"""Trainings in which several processes share each image: the model's wrapper, the data of a replica, the runner."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import mmengine.dist.utils as dist_utils
import torch
from mmengine.device import get_device
from mmengine.dist import get_rank
from mmengine.model import convert_sync_batchnorm
from mmengine.registry import MODEL_WRAPPERS
from mmengine.runner import Runner
from torch import nn

from saga_mm.parallel import Mesh, sum_gradients

# from images and data samples, as the model takes them, to losses as ``model.loss`` gives them
BandLosses = Callable[[torch.Tensor, Sequence[Any]], dict[str, Any]]


class BandParallel(nn.Module):
    """A model whose images are divided among the processes of a mesh while it trains, and are whole in evaluation.

    Args:
        module: The model, the same on all processes.
        mesh: The processes.
        losses: Losses of a batch, with the gradients of this process's part.
    """

    def __init__(self, module: nn.Module, mesh: Mesh, losses: BandLosses) -> None:
        super().__init__()
        self.module, self.mesh, self.losses = module, mesh, losses

    def train_step(self, data: Any, optim_wrapper: Any) -> dict[str, torch.Tensor]:
        """As of the model. Gradients are summed over the bands, and averaged over the replicas."""
        model = self.module
        with optim_wrapper.optim_context(model):
            data = model.data_preprocessor(data, True)
            losses = self.losses(data['inputs'], data['data_samples'])
        total, shown = model.parse_losses(losses)
        optim_wrapper.backward(optim_wrapper.scale_loss(total))
        # summed once for all batches whose gradients are accumulated
        if optim_wrapper.should_update():
            sum_gradients(model.parameters(), self.mesh)
            optim_wrapper.step()
            optim_wrapper.zero_grad()
        return shown

    def val_step(self, data: Any) -> Any:
        """As of the model."""
        return self.module.val_step(data)

    def test_step(self, data: Any) -> Any:
        """As of the model."""
        return self.module.test_step(data)

    def forward(self, *args: Any, **options: Any) -> Any:
        return self.module(*args, **options)


# by this mmengine knows what holds a model; no config names it
MODEL_WRAPPERS.register_module(module=BandParallel)


class BandTrainingRunner(Runner):
    """mmengine's runner for :class:`BandParallel`; made by :func:`band_training_runner`."""

    mesh: Mesh
    losses_of: Callable[[nn.Module], BandLosses]

    def wrap_model(self, _: Any, model: nn.Module) -> nn.Module:
        model = model.to(get_device())
        if self.cfg.get('sync_bn'):
            model = convert_sync_batchnorm(model, self.cfg.sync_bn)
        return BandParallel(model, self.mesh, type(self).losses_of(model))

    def scale_lr(self, *args: Any, **options: Any) -> None:
        # a replica is what mmengine takes for a process
        world, self._world_size = self._world_size, self.mesh.replicas
        try:
            super().scale_lr(*args, **options)
        finally:
            self._world_size = world


def band_training_runner(mesh: Mesh, losses_of: Callable[[nn.Module], BandLosses]) -> type[BandTrainingRunner]:
    """The runner of a training whose images are divided.

    Args:
        mesh: The processes.
        losses_of: Gives what computes the losses of a model.
    """
    return type('Runner', (BandTrainingRunner,), {'mesh': mesh, 'losses_of': staticmethod(losses_of)})


def replica_of(runner: Any) -> int:
    """Which of the images that are done at once a process works on."""
    return runner.mesh.data if isinstance(runner, BandTrainingRunner) else get_rank()


@contextmanager
def as_replica(runner: Any) -> Iterator[None]:
    """Have samplers and data sets of the stack take the replicas of a mesh for the processes."""
    if not isinstance(runner, BandTrainingRunner):
        yield
        return
    # bands of an image load the same samples: for the stack, processes of one band are the world
    found = dist_utils.get_default_group
    dist_utils.get_default_group = lambda: runner.mesh.across
    try:
        yield
    finally:
        dist_utils.get_default_group = found
