"""Print a line on the progress of a training every few seconds."""

from __future__ import annotations

import time
from collections.abc import Mapping
from datetime import timedelta
from typing import Any

from mmengine.hooks import Hook
from mmengine.runner import EpochBasedTrainLoop

from saga_mm.display.console import say
from saga_mm.display.metrics import metric_line

SECONDS = 10.0


class ProgressHook(Hook):
    """Says how far a training or an evaluation is, how it goes, and how long it will take.

    Args:
        seconds: Time between two lines.
    """

    priority = 'LOWEST'

    def __init__(self, seconds: float = SECONDS) -> None:
        self.seconds = seconds
        self._last = float('-inf')

    def before_train(self, runner: Any) -> None:
        loader = runner.train_dataloader
        if runner.iter >= runner.max_iters:
            done = f'{runner.iter} iterations are done'
            say(f'nothing is left to train: {done}, and the config asks for {runner.max_iters}')
            return
        start = f', from iteration {runner.iter} on' if runner.iter else ''
        say(f'training on {len(loader.dataset)} images, {runner.max_iters} iterations{start}')

    def after_train_iter(
        self, runner: Any, batch_idx: int, data_batch: Any = None, outputs: Mapping[str, Any] | None = None
    ) -> None:
        done = runner.iter + 1
        if not self._due(done in (1, runner.max_iters)):
            return
        hub = runner.message_hub
        place = f'iteration {done}/{runner.max_iters}'
        if isinstance(runner.train_loop, EpochBasedTrainLoop):
            place = f'epoch {runner.epoch + 1}/{runner.max_epochs}, {place}'
        loss = hub.log_scalars.get('train/loss')
        text = f'  loss {loss.mean(20):.4f}' if loss is not None else ''
        say(f'{place}{text}{self._left(runner)}')

    def after_val_iter(self, runner: Any, batch_idx: int, data_batch: Any = None, outputs: Any = None) -> None:
        if self._due():
            say(f'validating, {batch_idx + 1}/{len(runner.val_dataloader)}{self._left(runner)}')

    def after_test_iter(self, runner: Any, batch_idx: int, data_batch: Any = None, outputs: Any = None) -> None:
        if self._due():
            say(f'testing, {batch_idx + 1}/{len(runner.test_dataloader)}{self._left(runner)}')

    def after_val_epoch(self, runner: Any, metrics: Mapping[str, Any] | None = None) -> None:
        self._last = time.monotonic()
        say(f'validated: {metric_line(metrics or {})}')

    def _due(self, always: bool = False) -> bool:
        now = time.monotonic()
        if not always and now - self._last < self.seconds:
            return False
        self._last = now
        return True

    @staticmethod
    def _left(runner: Any) -> str:
        seconds = runner.message_hub.runtime_info.get('eta')
        return '' if seconds is None else f'  {timedelta(seconds=round(seconds))} left'
