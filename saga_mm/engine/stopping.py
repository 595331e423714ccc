"""End a training on a signal, such as a cluster's time limit, with a checkpoint and a line."""

from __future__ import annotations

import os
import signal
import threading
from types import FrameType
from typing import Any, NoReturn

import torch
from mmengine.dist import all_reduce, get_world_size
from mmengine.hooks import Hook
from mmengine.runner import EpochBasedTrainLoop

from saga_mm.display.console import say
from saga_mm.engine.hooks import AtomicCheckpointHook
from saga_mm.engine.loader_workers import SIGNALS

# iterations after which the processes of a distributed training agree to stop
AGREED_EVERY = 10


class StopHook(Hook):
    """Ends a training between two iterations after SIGTERM or SIGHUP; a second one ends it at once."""

    priority = 'LOWEST'

    def __init__(self) -> None:
        self._asked: signal.Signals | None = None
        self._before: dict[signal.Signals, Any] = {}

    def before_train(self, runner: Any) -> None:
        if threading.current_thread() is not threading.main_thread():
            return
        for name in SIGNALS:
            number = getattr(signal, name, None)
            # nohup has it ignored
            if number is not None and signal.getsignal(number) != signal.SIG_IGN:
                self._before[number] = signal.signal(number, self._note)

    def after_train_iter(
        self, runner: Any, batch_idx: int, data_batch: Any = None, outputs: dict[str, Any] | None = None
    ) -> None:
        done = runner.iter + 1
        by_epoch = isinstance(runner.train_loop, EpochBasedTrainLoop)
        if by_epoch and self.end_of_epoch(runner.train_loop.dataloader, batch_idx):
            # the epoch is completed first
            return
        if self._is_agreed(done):
            name = f'epoch_{runner.epoch}_iter_{done}' if by_epoch else f'iter_{done}'
            self._stop(runner, name, {'epoch': runner.epoch, 'iter': done})

    def after_train_epoch(self, runner: Any) -> None:
        if isinstance(runner.train_loop, EpochBasedTrainLoop) and self._is_agreed(0):
            self._stop(runner, f'epoch_{runner.epoch + 1}', {'epoch': runner.epoch + 1, 'iter': runner.iter})

    def after_val_iter(self, runner: Any, batch_idx: int, data_batch: Any = None, outputs: Any = None) -> None:
        # weights may be averaged ones meanwhile, which no training goes on with
        if self._asked is not None and get_world_size() == 1:
            self._end('the newest checkpoint is as it was')

    def after_train(self, runner: Any) -> None:
        self._restore()

    def _note(self, number: int, frame: FrameType | None) -> None:
        if self._asked is not None:
            self._restore()
            os.kill(os.getpid(), number)
        self._asked = signal.Signals(number)

    def _is_agreed(self, done: int) -> bool:
        """Whether to stop; processes of a distributed training do so at the same iteration."""
        if get_world_size() == 1:
            return self._asked is not None
        if done % AGREED_EVERY:
            return False
        asked = torch.tensor(float(self._asked is not None))
        if torch.distributed.get_backend() == 'nccl':
            asked = asked.cuda()
        all_reduce(asked)
        return bool(asked > 0)

    def _stop(self, runner: Any, name: str, position: dict[str, int]) -> NoReturn:
        hook = next((hook for hook in runner.hooks if isinstance(hook, AtomicCheckpointHook)), None)
        saved = hook.save_interrupted(runner, name, position) if hook is not None else None
        self._end(f'saved {saved}' if saved else 'nothing was saved')

    def _end(self, what: str) -> NoReturn:
        number = self._asked or signal.SIGTERM
        before = self._before.get(number)
        self._restore()
        say(f'{number.name}: {what}; --resume goes on from there')
        if callable(before):
            before(number, None)
        raise SystemExit(128 + number)

    def _restore(self) -> None:
        for number, before in self._before.items():
            signal.signal(number, before)
        self._before = {}
