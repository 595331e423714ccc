"""Check values in a config that libraries would refuse late, or without the name of the option."""

from __future__ import annotations

import math
import multiprocessing
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

from saga_mm.errors import SagaError

if TYPE_CHECKING:
    from mmengine.config import Config

# whole numbers in a config, each with the least that it may be
OF_TRAINING = {
    'train_cfg.max_iters': 1,
    'train_cfg.max_epochs': 1,
    'train_cfg.val_interval': 1,
    'optim_wrapper.accumulative_counts': 1,
}
OF_LOADERS = {'batch_size': 1, 'num_workers': 0}
# rates, which are finite and not below zero
RATES = ('optim_wrapper.optimizer.lr', 'optim_wrapper.optimizer.weight_decay', 'optim_wrapper.clip_grad.max_norm')
CHOICES = {
    'log_level': ('CRITICAL', 'ERROR', 'WARNING', 'INFO', 'DEBUG'),
    'env_cfg.mp_cfg.mp_start_method': tuple(multiprocessing.get_all_start_methods()),
}
MOST_SEED = 2**32 - 1


def check_values(cfg: Config, training: bool) -> None:
    """Refuse values with which a run fails.

    Args:
        cfg: The config.
        training: Whether it is for a training, or for a test.

    Raises:
        SagaError: One is none, or out of range.
    """
    for path, least in _whole_numbers(training):
        value = _at(cfg, path)
        if value is not None and (type(value) is not int or value < least):
            raise SagaError(f'config {cfg.filename}: {path} is {value!r}; it must be a whole number from {least} on')
    seed = _at(cfg, 'randomness.seed')
    if seed is not None and (type(seed) is not int or not 0 <= seed <= MOST_SEED):
        raise SagaError(
            f'config {cfg.filename}: randomness.seed is {seed!r}; it must be a whole number from 0 to {MOST_SEED}'
        )
    for path, names in CHOICES.items():
        value = _at(cfg, path)
        if value is not None and value not in names:
            raise SagaError(f'config {cfg.filename}: {path} is {value!r}; it must be one of {", ".join(names)}')
    for number, scheduler in enumerate(cfg.get('param_scheduler') or () if training else ()):
        # both divide by it
        for name in ('start_factor', 'factor'):
            if isinstance(scheduler, Mapping) and scheduler.get(name) == 0 and 'Plateau' not in str(scheduler.type):
                raise SagaError(
                    f'config {cfg.filename}: param_scheduler.{number}.{name} is 0; it must be more, such as 1e-6'
                )
    for path in RATES if training else ():
        value = _at(cfg, path)
        if value is not None and not _is_rate(value):
            raise SagaError(f'config {cfg.filename}: {path} is {value!r}; it must be a number from 0 on')


def _whole_numbers(training: bool) -> Iterator[tuple[str, int]]:
    if training:
        yield from OF_TRAINING.items()
    for part in ('train', 'val') if training else ('test',):
        for name, least in OF_LOADERS.items():
            yield f'{part}_dataloader.{name}', least


def _at(cfg: Config, path: str) -> Any:
    node: Any = cfg
    for key in path.split('.'):
        node = node.get(key) if isinstance(node, Mapping) or node is cfg else None
    return node


def _is_rate(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool) and math.isfinite(value) and value >= 0
