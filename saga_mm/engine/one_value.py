"""Batch norm in training on a single value for each channel, which PyTorch refuses."""

from __future__ import annotations

from typing import Any

import torch
from mmengine.hooks import Hook
from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm

from saga_mm.display.console import say


class OneValueHook(Hook):
    """Makes a batch norm use its running statistics if a batch has one value per channel.

    This happens with one picture in a step, or in the last step of an epoch, where a head pools to a single position.
    The layer then computes in training what it computes in prediction. Its other batches are as ever.
    """

    def __init__(self) -> None:
        self._handles: list[Any] = []
        self._said = False

    def before_train_epoch(self, runner: Any) -> None:
        self._watch(runner.model)

    def before_val(self, runner: Any) -> None:
        # a model with hooks would predict in whole maps
        self._release()

    def after_val(self, runner: Any) -> None:
        self._watch(runner.model)

    def after_train(self, runner: Any) -> None:
        self._release()

    def _watch(self, model: nn.Module) -> None:
        self._release()
        for name, module in model.named_modules():
            alone = not isinstance(module, nn.SyncBatchNorm) or not torch.distributed.is_initialized()
            if isinstance(module, _BatchNorm) and alone and module.running_mean is not None:
                self._handles += self._watch_layer(name, module)

    def _watch_layer(self, name: str, module: nn.Module) -> list[Any]:
        lone = False

        def before(module: nn.Module, inputs: tuple[torch.Tensor, ...]) -> None:
            nonlocal lone
            lone = module.training and inputs[0].numel() == inputs[0].shape[1]
            if lone:
                module.training = False
                self._say(name)

        def after(module: nn.Module, inputs: Any, output: Any) -> None:
            if lone:
                module.training = True

        return [module.register_forward_pre_hook(before), module.register_forward_hook(after, always_call=True)]

    def _say(self, name: str) -> None:
        if not self._said:
            self._said = True
            say(
                f'{name}: batch norm of one value a channel, since a step has one picture; it uses its running '
                "statistics. A larger train_dataloader.batch_size, or norm_cfg=dict(type='GN', num_groups=32), trains "
                'better'
            )

    def _release(self) -> None:
        for handle in self._handles:
            handle.remove()
        self._handles.clear()
