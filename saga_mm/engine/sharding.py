"""Trainings whose parameters, gradients and states of the optimizer are divided among all processes, by FSDP2."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from mmengine.device import get_device
from mmengine.dist import broadcast, get_world_size
from mmengine.hooks import Hook
from mmengine.model import convert_sync_batchnorm
from mmengine.runner import Runner
from torch import nn
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.fsdp import fully_shard
from torch.distributed.tensor import DTensor, distribute_tensor
from torch.utils import _pytree as pytree

from saga_mm.models.backbones.stage import Stage


class ShardRunner(Runner):
    """mmengine's runner, with a part of each parameter on each process.

    A block of the backbone is put together while it runs. Checkpoints are those of ordinary training, whole, and are
    loaded by any number of processes.
    """

    def wrap_model(self, _: Any, model: nn.Module) -> nn.Module:
        model = model.to(get_device())
        if self.cfg.get('sync_bn'):
            model = convert_sync_batchnorm(model, self.cfg.sync_bn)
        # parts cannot be initialised as wholes are
        if hasattr(model, 'init_weights'):
            model.init_weights()
        # each process has drawn its own numbers
        for value in model.state_dict().values():
            broadcast(value)
        return shard(model)

    def _init_model_weights(self) -> None:
        """Done before the model was divided."""

    def build_optim_wrapper(self, optim_wrapper: Any) -> Any:
        wrapper = super().build_optim_wrapper(optim_wrapper)
        self.register_hook(_ShardHook())
        if getattr(wrapper, 'clip_grad_kwargs', None):
            # the norm of all parts is itself divided, and the log takes whole numbers
            clip = wrapper.clip_func
            wrapper.clip_func = lambda *args, **options: _whole(clip(*args, **options))
        return wrapper

    def save_checkpoint(self, *args: Any, **options: Any) -> None:
        """As of mmengine, by all processes: each gives its part."""
        whole = {'state_dict': self.model.state_dict(), 'optimizer': self.optim_wrapper.state_dict()}
        # before mmengine's saving, which the first process does alone: to gather needs all of them
        self.whole = pytree.tree_map(_whole, whole)
        try:
            super().save_checkpoint(*args, **options)
        finally:
            del self.whole


def shard(model: nn.Module) -> nn.Module:
    """Divide a model among all processes, block by block; the rest is one more part."""
    mesh = init_device_mesh(torch.device(get_device()).type, (get_world_size(),))
    for stage in model.modules():
        for block in stage.blocks if isinstance(stage, Stage) else ():
            fully_shard(block, mesh=mesh)
    # blocks first: what is divided already stays out of the outer part
    return fully_shard(model, mesh=mesh)


class _ShardHook(Hook):
    """Puts whole tensors into checkpoints, and divides those of a checkpoint that is loaded."""

    priority = 'LOWEST'

    def before_save_checkpoint(self, runner: Any, checkpoint: dict) -> None:
        checkpoint.update({key: value for key, value in runner.whole.items() if key in checkpoint})

    def after_load_checkpoint(self, runner: Any, checkpoint: dict) -> None:
        own = dict(runner.model.named_parameters())
        state = checkpoint.get('state_dict', checkpoint)
        for name, value in state.items():
            state[name] = _like(value, own.get(name.removeprefix('module.')))
        kept = checkpoint.get('optimizer') if runner._resume else None
        if not isinstance(kept, Mapping) or not kept.get('state'):
            return
        parameters = [each for group in runner.optim_wrapper.optimizer.param_groups for each in group['params']]
        for index, entry in kept['state'].items():
            kept['state'][index] = {key: _like(value, parameters[index]) for key, value in entry.items()}


def _whole(value: Any) -> Any:
    return value.full_tensor().cpu() if isinstance(value, DTensor) else value


def _like(value: Any, parameter: Any) -> Any:
    """This process's part of a tensor, where a parameter of its shape is divided."""
    if not isinstance(value, torch.Tensor) or not isinstance(parameter, DTensor) or value.shape != parameter.shape:
        return value
    value = value.to(parameter.device)
    return distribute_tensor(value, parameter.device_mesh, parameter.placements, src_data_rank=None)
