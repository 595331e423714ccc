"""Continue a training exactly: random numbers, position in the data, and a validation that was missed."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Mapping
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import numpy as np
from mmengine.dataset import InfiniteSampler
from mmengine.dist import get_world_size, is_main_process
from mmengine.hooks import Hook
from mmengine.runner import EpochBasedTrainLoop, IterBasedTrainLoop

from saga_mm.display.console import say
from saga_mm.engine.band_training import as_replica, replica_of
from saga_mm.engine.loader_workers import guard_workers
from saga_mm.engine.random_streams import (
    PlacedBatches,
    begin_streams,
    place_samples,
    set_streams,
    set_streams_of_file,
    streams,
)
from saga_mm.engine.schedule import place_in_epochs
from saga_mm.engine.update_hook import EPOCH, VALIDATED_AT
from saga_mm.errors import SagaError
from saga_mm.files import write_file

RANDOM = 'random'
# the file of the last validation that was completed, and the fact of a checkpoint that holds what it found
VALIDATED, HOLDS = 'last_validation', VALIDATED_AT
BEST = ('best_score', 'best_ckpt')


def place_training_data(runner: Any, start: Mapping[str, Any] | None) -> None:
    """Make the random numbers of each training sample depend on its position in the training alone.

    Args:
        runner: mmengine's, before it trains.
        start: What the checkpoint of a resumed training says of it (``meta``).

    Raises:
        SagaError: When the data are loaded: they do not fill one batch, and less is left out.
    """
    build = runner.build_dataloader

    def build_placed(dataloader: Any, *args: Any, **options: Any) -> Any:
        training = dataloader is runner._train_dataloader
        with as_replica(runner) if training else nullcontext():
            loader = build(dataloader, *args, **options)
            if training:
                _require_batches(loader)
            if training and options.get('seed') is not None:
                place_samples(loader, options['seed'])
        guard_workers(loader)
        if training and start is not None and isinstance(loader.batch_sampler, PlacedBatches):
            _begin(loader, runner, start)
        return loader

    runner.build_dataloader = build_placed


def _require_batches(loader: Any) -> None:
    """Refuse a loader without a batch: every epoch would be empty, and the training complete."""
    if loader.batch_size and not len(loader) and not isinstance(loader.sampler, InfiniteSampler):
        raise SagaError(
            f'train_dataloader: {len(loader.sampler)} pictures fill no batch of {loader.batch_size}, and drop_last '
            'leaves out what fills none; take a smaller --batch-size, or train_dataloader.drop_last=False'
        )


def _begin(loader: Any, runner: Any, start: Mapping[str, Any]) -> None:
    epoch, iteration = start['epoch'], start['iter']
    by_epoch = runner._train_loop.get('by_epoch', True) if isinstance(runner._train_loop, dict) else True
    kind = runner._train_loop.get('type', '') if isinstance(runner._train_loop, dict) else ''
    by_epoch = by_epoch and 'Iter' not in str(kind)
    if not by_epoch:
        loader.batch_sampler.begin_after(0, iteration)
        return
    epoch, iteration = place_in_epochs(epoch, iteration, len(loader), start.get(EPOCH))
    within = iteration - epoch * len(loader)
    loader.batch_sampler.begin_after(epoch, within if 0 < within <= len(loader) else 0)


class ContinuationHook(Hook):
    """Stores random states in checkpoints, restores them at a resume, and protects them from validations."""

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
        if runner._resume:
            _take_over_validation(runner)
        batches = getattr(loop.dataloader, 'batch_sampler', None)
        if isinstance(loop, IterBasedTrainLoop) and loop.iter and isinstance(batches, PlacedBatches):
            loop.dataloader_iterator._epoch = batches.passes
            loop.dataloader_iterator = _Begun(loop.dataloader_iterator, loop.iter)

    def before_train_iter(self, runner: Any, batch_idx: int, data_batch: Any = None) -> None:
        if self._resumed is not None:
            set_streams_of_file(self._resumed)
            self._resumed = None
        if get_world_size() > 1:
            # a checkpoint holds the streams of the first process alone, and bands of an image draw alike
            begin_streams(runner.seed, replica_of(runner), runner.iter)

    def after_val_epoch(self, runner: Any, metrics: Mapping[str, Any] | None = None) -> None:
        # before a hook saves the best
        runner.message_hub.update_info(HOLDS, runner.iter)

    def before_val(self, runner: Any) -> None:
        self._outside = self._resumed or streams()

    def after_val(self, runner: Any) -> None:
        if self._resumed is None and self._outside is not None:
            set_streams(self._outside)
        self._outside = None


class _Begun:
    """An iterator over batches that already begins where the training stopped."""

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
    """Repeats a validation that was due at the step of the checkpoint and was not completed."""

    priority = 'LOWEST'

    def before_train(self, runner: Any) -> None:
        loop = runner.train_loop
        if runner.val_loop is None or not loop.iter or not self._due(loop):
            return
        if runner.message_hub.runtime_info.get(HOLDS) == loop.iter:
            return
        say(f'validating what iteration {loop.iter} left, before training goes on')
        # what checkpoints say of a validation that comes right after its training
        runner.message_hub.update_info('iter', loop.iter - 1)
        if isinstance(loop, EpochBasedTrainLoop):
            runner.message_hub.update_info('epoch', loop.epoch - 1)
        runner.val_loop.run()

    def after_val_epoch(self, runner: Any, metrics: Mapping[str, Any] | None = None) -> None:
        if not is_main_process() or runner.train_loop is None:
            return
        info = runner.message_hub.runtime_info
        found = {
            'iter': runner.iter,
            'scalars': {name: float(value) for name, value in (metrics or {}).items() if _is_number(value)},
            'best': {key: _plain(value) for key, value in info.items() if key.startswith(BEST)},
        }
        write_file(os.path.join(runner.work_dir, VALIDATED), json.dumps(found))

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


def _take_over_validation(runner: Any) -> None:
    """Where the last validation of a work folder is that of the step which is resumed, take over what it found.

    The checkpoint was saved before it, unless its result was the best.
    """
    hub, file = runner.message_hub, Path(runner.work_dir, VALIDATED)
    if hub.runtime_info.get(HOLDS) == runner.iter or not file.is_file():
        return
    try:
        found = json.loads(file.read_text(errors='replace'))
        same = isinstance(found, dict) and found['iter'] == runner.iter
        scalars, best = (found['scalars'], found['best']) if same else ({}, {})
        numbers = [*scalars.values(), *(value for key, value in best.items() if key.startswith(BEST[0]))]
        whole = same and all(map(_is_number, numbers)) and all(key.startswith(BEST) for key in best)
    except (ValueError, KeyError, AttributeError, RecursionError):
        return
    if not whole:
        return
    for name, value in scalars.items():
        hub.update_scalar(f'val/{name}', value)
    for key, value in best.items():
        # a hook takes the file of that name in its own folder, or none
        hub.update_info(key, value)
    hub.update_info(HOLDS, runner.iter)


def _is_number(value: Any) -> bool:
    return isinstance(value, (int, float, np.number)) and not isinstance(value, bool)


def _plain(value: Any) -> Any:
    return float(value) if _is_number(value) else str(value)
