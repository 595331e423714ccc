"""What makes a resumed training the training: its random numbers, its place in the data, and a validation it lost."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from mmengine.dist import is_main_process
from mmengine.hooks import Hook
from mmengine.runner import EpochBasedTrainLoop, IterBasedTrainLoop

from saga_mm.display.console import say
from saga_mm.engine.random_streams import PlacedBatches, place_samples, set_streams, set_streams_of_file, streams
from saga_mm.files import write_file

RANDOM = 'random'
VALIDATED = 'last_validation'


def place_training_data(runner: Any, start: tuple[int, int] | None) -> None:
    """Have a runner load the samples of its training by their places in it.

    Args:
        runner: mmengine's, before it trains.
        start: Epochs and iterations that a resumed training has done.
    """
    build = runner.build_dataloader

    def build_placed(dataloader: Any, *args: Any, **options: Any) -> Any:
        training = dataloader is runner._train_dataloader
        loader = build(dataloader, *args, **options)
        if training and options.get('seed') is not None:
            place_samples(loader, options['seed'])
            if start is not None and isinstance(loader.batch_sampler, PlacedBatches):
                _begin(loader, runner, *start)
        return loader

    runner.build_dataloader = build_placed


def _begin(loader: Any, runner: Any, epoch: int, iteration: int) -> None:
    by_epoch = runner._train_loop.get('by_epoch', True) if isinstance(runner._train_loop, dict) else True
    kind = runner._train_loop.get('type', '') if isinstance(runner._train_loop, dict) else ''
    by_epoch = by_epoch and 'Iter' not in str(kind)
    if not by_epoch:
        loader.batch_sampler.begin_after(0, iteration)
        return
    within = iteration - epoch * len(loader)
    loader.batch_sampler.begin_after(epoch, within if 0 < within <= len(loader) else 0)


class ContinuationHook(Hook):
    """Keeps the random streams in checkpoints, takes them over at a resume, and keeps them from validations."""

    priority = 'VERY_HIGH'

    def __init__(self) -> None:
        self._resumed: Any = None
        self._outside: dict[str, Any] | None = None

    def before_save_checkpoint(self, runner: Any, checkpoint: dict) -> None:
        checkpoint['meta'][RANDOM] = self._outside or streams()

    def after_load_checkpoint(self, runner: Any, checkpoint: dict) -> None:
        if runner._resume:
            self._resumed = checkpoint['meta'].get(RANDOM)

    def before_train(self, runner: Any) -> None:
        loop = runner.train_loop
        batches = getattr(loop.dataloader, 'batch_sampler', None)
        if isinstance(loop, IterBasedTrainLoop) and loop.iter and isinstance(batches, PlacedBatches):
            loop.dataloader_iterator._epoch = batches.passes
            loop.dataloader_iterator = _Begun(loop.dataloader_iterator, loop.iter)

    def before_train_iter(self, runner: Any, batch_idx: int, data_batch: Any = None) -> None:
        if self._resumed is not None:
            set_streams_of_file(self._resumed)
            self._resumed = None

    def before_val(self, runner: Any) -> None:
        self._outside = self._resumed or streams()

    def after_val(self, runner: Any) -> None:
        if self._resumed is None and self._outside is not None:
            set_streams(self._outside)
        self._outside = None


class _Begun:
    """An iterator over batches that needs not be advanced to where a training was."""

    def __init__(self, batches: Iterator[Any], done: int) -> None:
        self.batches, self.done = batches, done

    def skip_iter(self, count: int) -> None:
        self.done = 0

    def __next__(self) -> Any:
        if self.done:
            # versions of mmengine without ``skip_iter`` ask for what was done
            self.done -= 1
            return None
        return next(self.batches)


class MissedValidationHook(Hook):
    """Makes up for a validation that was due where a resumed training goes on, and was not completed."""

    priority = 'LOWEST'

    def before_train(self, runner: Any) -> None:
        loop = runner.train_loop
        if runner.val_loop is None or not loop.iter or not self._due(loop) or self._done(runner) == loop.iter:
            return
        say(f'validating what iteration {loop.iter} left, before training goes on')
        runner.val_loop.run()

    def after_val(self, runner: Any) -> None:
        if is_main_process() and runner.train_loop is not None:
            write_file(os.path.join(runner.work_dir, VALIDATED), str(runner.iter))

    @staticmethod
    def _due(loop: Any) -> bool:
        if isinstance(loop, IterBasedTrainLoop):
            step, last = loop.iter, loop.iter >= loop.max_iters
        elif isinstance(loop, EpochBasedTrainLoop):
            step, last = loop.epoch, loop.epoch >= loop.max_epochs
            if not step or loop.iter != step * len(loop.dataloader):
                return False
        else:
            return False
        loop._decide_current_val_interval()
        return step >= loop.val_begin and (step % loop.val_interval == 0 or last)

    @staticmethod
    def _done(runner: Any) -> int | None:
        file = Path(runner.work_dir, VALIDATED)
        text = file.read_text(errors='replace').strip() if file.is_file() else ''
        return int(text) if text.isascii() and text.isdigit() and len(text) < 16 else None
