"""Fit a training to another length: loop, schedule, warm-up, validations, checkpoints, averages."""

from __future__ import annotations

import math
import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

from mmengine.config import Config
from mmengine.registry import DATASETS, DefaultScope

from saga_mm.errors import SagaError

# a warm-up whose length is counted in iterations, whatever the data, takes at most this part of a training
WARM_UP = 0.1
# validations and checkpoints of a training that is shorter than its recipe
MOST_VALIDATIONS = 5
CHECKPOINTS = ('CheckpointHook', 'AtomicCheckpointHook')
# averages of weights reach back over this part of a training, at most
AVERAGED = 0.1


@dataclass
class Length:
    """What a command line says of a training's length.

    Attributes:
        epochs: How often it sees its data; None for what the config says.
        iters: Its iterations; None for what the config says.
        batch_size: Images of each process in an iteration; None for what the config says.
        lr: The highest learning rate; None for what the config says.
    """

    epochs: int | None = None
    iters: int | None = None
    batch_size: int | None = None
    lr: float | None = None

    def check(self) -> None:
        """Refuse numbers that are not positive, and two lengths.

        Raises:
            SagaError: A number is not positive, or both lengths are given.
        """
        for name, value in vars(self).items():
            if value is not None and not (math.isfinite(value) and value > 0):
                raise SagaError(f'--{name.replace("_", "-")} {value}: must be more than 0')
        if self.epochs is not None and self.iters is not None:
            raise SagaError(f'--iters {self.iters}: --epochs {self.epochs} gives the length already; name one')


def fit_length(cfg: Config, length: Length) -> str:
    """Change a config to the batch, the rate and the length that a command line names.

    Args:
        cfg: The config, changed in place; its launcher is set.
        length: The command line.

    Returns:
        What the training is now, in a line; empty if nothing was asked for.

    Raises:
        SagaError: The config has another loop or optimizer, so that it has to be changed itself.
    """
    length.check()
    if length.lr is not None:
        _set_rate(cfg, length.lr)
    if length.batch_size is not None:
        # the batches of a sampler of its own are made by it
        for part in (cfg.train_dataloader, cfg.train_dataloader.get('batch_sampler') or {}):
            if part is cfg.train_dataloader or 'batch_size' in part:
                part['batch_size'] = length.batch_size
    if length.epochs is None and length.iters is None:
        return ''
    counts_epochs = _counts_epochs(cfg)
    # builds the data set, which takes a while, and only where epochs are asked for or counted
    per_epoch = _epoch_length(cfg) if counts_epochs or length.epochs else 0
    total = length.iters or length.epochs * per_epoch
    # iterations of the new training for each unit that the config counts in
    unit = total / (cfg.train_cfg.max_epochs if counts_epochs else cfg.train_cfg.max_iters)
    change = unit / per_epoch if counts_epochs else unit
    if cfg.get('param_scheduler') is not None:
        cfg.param_scheduler = _each(
            cfg.param_scheduler, lambda schedulers: _fit_schedule(schedulers, total, unit, counts_epochs)
        )
    if counts_epochs and length.iters:
        _count_iterations(cfg, per_epoch)
        counts_epochs = False
    new = length.epochs if counts_epochs else total
    _fit_loop(cfg.train_cfg, counts_epochs, new, change)
    _fit_hooks(cfg, new, change, total)
    return f'{new} epochs of {per_epoch} iterations' if counts_epochs else f'{total} iterations'


def _counts_epochs(cfg: Config) -> bool:
    """Whether a config's training loop counts epochs, or else iterations."""
    loop = cfg.train_cfg
    kind = str(loop.get('type', '')).rpartition('.')[2]
    if kind not in ('', 'EpochBasedTrainLoop', 'IterBasedTrainLoop'):
        raise SagaError(f'config {cfg.filename}: its train_cfg.type is {kind}, whose length is set in the config alone')
    return kind != 'IterBasedTrainLoop' if kind else bool(loop.get('by_epoch', 'max_epochs' in loop))


def _epoch_length(cfg: Config) -> int:
    """Iterations in which each process sees its part of the training data once."""
    loader = cfg.train_dataloader
    with DefaultScope.overwrite_default_scope(cfg.get('default_scope', 'mmengine')):
        images = len(DATASETS.build(loader.dataset.to_dict()))
    launched = cfg.get('launcher', 'none') != 'none'
    processes = int(os.environ.get('WORLD_SIZE', os.environ.get('SLURM_NTASKS', '1'))) if launched else 1
    # mmengine's samplers round up, so that all processes have as many
    each = -(-images // processes)
    batch = loader.batch_size
    return max(1, each // batch if loader.get('drop_last') else -(-each // batch))


def _each(schedulers: Any, fit: Callable[[list[dict[str, Any]]], list[dict[str, Any]]]) -> Any:
    """Schedulers of one optimizer, one or a list of them, or of several by name."""
    if isinstance(schedulers, dict) and 'type' not in schedulers:
        return {name: _each(parts, fit) for name, parts in schedulers.items()}
    return fit([schedulers] if isinstance(schedulers, dict) else list(schedulers))


def _fit_schedule(
    schedulers: list[dict[str, Any]], total: int, unit: float, counts_epochs: bool
) -> list[dict[str, Any]]:
    """Schedulers of a training of ``total`` iterations, counted in iterations.

    Args:
        schedulers: As they stand in the config.
        total: Iterations of the training.
        unit: How many of them become of an epoch or an iteration of the config's loop.
        counts_epochs: Whether it is an epoch.
    """
    warm_up = next((s['end'] for s in schedulers if _is_warm_up(s) and _by_epoch(s) is not counts_epochs), None)
    fitted = []
    for scheduler in map(dict, schedulers):
        if _by_epoch(scheduler) is counts_epochs:
            step = unit
        elif counts_epochs:
            # iterations of data whose size the config does not say: only a warm-up that is too long is shortened
            step = min(1.0, total * WARM_UP / warm_up) if warm_up else 1.0
        else:
            raise SagaError(f'param_scheduler: {scheduler["type"]} counts epochs in a training that counts iterations')
        fitted.append(_stretch(scheduler, step, total))
    return fitted


def _stretch(scheduler: dict[str, Any], step: float, total: int) -> dict[str, Any]:
    """A scheduler whose places are multiplied by ``step``, and lie within the training."""

    def place(old: int) -> int:
        # mmengine's warm-up over one iteration stays at its first factor
        return min(max(round(old * step), 2), total) if old else 0

    begin, end = scheduler.get('begin', 0), scheduler.get('end', math.inf)
    scheduler.pop('convert_to_iter_based', None)
    scheduler.update(by_epoch=False, begin=min(place(begin), total - 1))
    if math.isfinite(end):
        scheduler['end'] = max(place(end), scheduler['begin'] + 1)
    for key in ('T_max', 'total_steps', 'step_size'):
        if key in scheduler:
            whole = scheduler[key] == end - begin
            scheduler[key] = scheduler['end'] - scheduler['begin'] if whole else max(1, round(scheduler[key] * step))
    for key in ('milestones', 'periods'):
        if key in scheduler:
            scheduler[key] = [place(each) for each in scheduler[key]]
    # a factor of each step: of more steps, each has to be nearer to 1
    if scheduler['type'].rpartition('.')[2].startswith('Exponential'):
        scheduler['gamma'] **= 1 / step
    return scheduler


def _is_warm_up(scheduler: dict[str, Any]) -> bool:
    return (
        scheduler.get('begin', 0) == 0 and 'start_factor' in scheduler and math.isfinite(scheduler.get('end', math.inf))
    )


def _by_epoch(scheduler: dict[str, Any]) -> bool:
    return scheduler.get('by_epoch', True)


def _interval(old: int, length: int, change: float) -> int:
    """How often something happens in a training: as in its recipe, and not too often in one that is shorter."""
    if change >= 1:
        return old
    return max(1, min(old, max(round(old * change), -(-length // MOST_VALIDATIONS))))


def _fit_loop(loop: dict[str, Any], counts_epochs: bool, length: int, change: float) -> None:
    """Length and validations of a loop; ``length`` in its own unit, ``change`` as a factor."""
    loop['max_epochs' if counts_epochs else 'max_iters'] = length
    loop['val_interval'] = _interval(loop.get('val_interval', 1), length, change)
    if loop.get('val_begin', 1) > 1:
        loop['val_begin'] = max(1, round(loop['val_begin'] * change))
    if loop.get('dynamic_intervals'):
        loop['dynamic_intervals'] = [
            (max(1, round(start * change)), _interval(every, length, change))
            for start, every in loop['dynamic_intervals']
        ]


def _fit_hooks(cfg: Config, length: int, change: float, total: int) -> None:
    """Checkpoints, lines of the log, and averages of weights."""
    for kind, hook in _hooks(cfg):
        if kind in CHECKPOINTS:
            hook['interval'] = _interval(hook.get('interval', 1), length, change)
        elif kind == 'LoggerHook':
            hook['interval'] = max(1, min(hook.get('interval', 10), total // 10))
        elif kind == 'EMAHook':
            # an average that reaches back beyond the beginning holds the first, random weights
            hook['momentum'] = max(hook.get('momentum', 0.0002), min(0.5, 1 / (AVERAGED * total)))
            for key in ('begin_epoch', 'begin_iter'):
                if hook.get(key):
                    hook[key] = round(hook[key] * change)


def _count_iterations(cfg: Config, per_epoch: int) -> None:
    """Make a training that counts epochs one that counts iterations."""
    every = cfg.train_cfg.get('val_interval', 1) * per_epoch
    cfg.train_cfg = dict(type='IterBasedTrainLoop', max_iters=1, val_interval=every)
    cfg.log_processor = {**(cfg.get('log_processor') or {}), 'by_epoch': False}
    for kind, hook in _hooks(cfg):
        if kind in CHECKPOINTS and hook.get('by_epoch', True):
            hook.update(by_epoch=False, interval=hook.get('interval', 1) * per_epoch)
        elif kind == 'LoggerHook':
            hook['log_metric_by_epoch'] = False


def _hooks(cfg: Config) -> Iterator[tuple[str, dict[str, Any]]]:
    """The hooks of a config, each with the name of its type."""
    for hook in [*(cfg.get('default_hooks') or {}).values(), *(cfg.get('custom_hooks') or [])]:
        if isinstance(hook, dict):
            yield str(hook.get('type', '')).rpartition('.')[2], hook


def _set_rate(cfg: Config, rate: float) -> None:
    """Set the learning rate, and with it the rates that a schedule ends at."""
    optimizer = cfg.optim_wrapper.get('optimizer')
    # rates of 0 cannot be multiplied to another
    if not isinstance(optimizer, dict) or not optimizer.get('lr'):
        raise SagaError(f'--lr: config {cfg.filename} has no optim_wrapper.optimizer.lr; set its rates in the config')
    times = rate / optimizer['lr']
    optimizer['lr'] = rate

    def fit(schedulers: list[dict[str, Any]]) -> list[dict[str, Any]]:
        return [{**s, 'eta_min': s['eta_min'] * times} if 'eta_min' in s else s for s in schedulers]

    if cfg.get('param_scheduler') is not None:
        cfg.param_scheduler = _each(cfg.param_scheduler, fit)
