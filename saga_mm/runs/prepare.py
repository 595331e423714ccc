"""Read and check the config, the data and the weights before a run starts."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from mmengine.config import Config
from mmengine.model import BaseModule
from torch import nn

from saga_mm.datasets.checks.shared import shared_text
from saga_mm.datasets.demo.shapes import ensure_demo_data
from saga_mm.display.console import say
from saga_mm.errors import SagaError
from saga_mm.loading.build import check_optimizer, swallowed_options
from saga_mm.loading.checkpoint import is_remote, load_state, make_files_safe
from saga_mm.loading.config import load_config
from saga_mm.loading.datasets import leaf_datasets
from saga_mm.loading.quiet import silence_noise
from saga_mm.loading.stack import require_stack, require_stack_for
from saga_mm.loading.weight_match import check_match
from saga_mm.runs.config_options import set_launcher, set_work_dir
from saga_mm.runs.values import check_values
from saga_mm.tasks import task_of
from saga_mm.tasks.data import TaskData
from saga_mm.tasks.own_data import OwnData, class_counts, use_own_data

if TYPE_CHECKING:
    from saga_mm.loading.weight_match import Match

# sections of a config that only some runs read
OF_TRAINING = ('train_dataloader', 'train_cfg', 'optim_wrapper', 'param_scheduler', 'auto_scale_lr', 'load_from')
OF_VALIDATION = ('val_dataloader', 'val_evaluator', 'val_cfg')
OF_TEST = ('test_dataloader', 'test_evaluator', 'test_cfg')


@dataclass
class RunOptions:
    """What training and testing have in common on their command lines.

    Attributes:
        config: The config file.
        cfg_options: Values to change in it, by dotted key.
        work_dir: Where results go.
        launcher: How processes were started: ``none``, ``pytorch``, ``slurm`` or ``mpi``.
        own_data: One's own data, if any.
    """

    config: str
    cfg_options: dict[str, Any] | None = None
    work_dir: str | None = None
    launcher: str = 'none'
    own_data: OwnData = field(default_factory=OwnData)


def prepare_config(options: RunOptions, training: bool) -> Config:
    """Read the config and set what the command line asks for.

    Args:
        options: The command line.
        training: Whether the config is to train with, or to test with.

    Raises:
        SagaError: The stack or the config is not in order.
    """
    # before the stack reads any file
    make_files_safe()
    require_stack()
    cfg = load_config(options.config, options.cfg_options)
    require_stack_for(cfg)
    # after the stack was imported, since functions of its modules are replaced
    silence_noise()
    _refuse_swallowed(cfg, options.cfg_options)
    # before anything reads the data: libraries then read it as the checks do
    task_of(cfg).load_data().prepare()
    _require_sections(cfg, training)
    fit_workers(cfg)
    use_own_data(cfg, options.own_data, training)
    set_work_dir(cfg, options.config, options.work_dir)
    return cfg


def _refuse_swallowed(cfg: Config, cfg_options: Mapping[str, Any] | None) -> None:
    """Refuse values of ``--cfg-options`` that no class uses; warn of a config's that look like misspellings."""
    for path, problem in swallowed_options(cfg):
        if path in (cfg_options or {}):
            raise SagaError(f'--cfg-options {path}: {problem}')
        if 'did you mean' in problem:
            say(f'warning: config {cfg.filename}: {path}: {problem}')


def tell_unused(cfg_options: Mapping[str, Any] | None, unused: Sequence[str]) -> None:
    """Warn of values of ``--cfg-options`` in sections of a config that this run does not read."""
    for key in cfg_options or {}:
        if key.partition('.')[0] in unused:
            say(f'warning: --cfg-options {key}: is not read here, and changes nothing')


def fit_workers(cfg: Config) -> None:
    """Take options of workers out of loaders that have none, since PyTorch refuses them."""
    for part in ('train', 'val', 'test'):
        loader = cfg.get(f'{part}_dataloader')
        if loader is not None and loader.get('num_workers') == 0:
            for option in ('persistent_workers', 'prefetch_factor'):
                loader.pop(option, None)


def check(cfg: Config, model: nn.Module | None, training: bool, launcher: str = 'none') -> None:
    """Check the model, make the demo data if the config asks for some, and check the data.

    Args:
        cfg: The config; changed to fit the launcher.
        model: Its model; for a training.
        training: Whether to check the training and validation data, or the test data.
        launcher: How processes were started.

    Raises:
        SagaError: Something is missing or wrong; nothing was started.
    """
    check_values(cfg, training)
    if training:
        check_optimizer(cfg)
        check_pretrained(model)
    if cfg.get('demo_data'):
        ensure_demo_data(cfg.demo_data.to_dict())
    _check_data(cfg, training)
    # last: a process that finds a mistake ends before the others wait for it
    set_launcher(cfg, launcher)


def check_load_from(cfg: Config, model: nn.Module) -> None:
    """Say what of ``load_from`` a training does not take over, and refuse a file of which it takes nothing."""
    if cfg.get('load_from'):
        cfg.load_from = os.path.expanduser(cfg.load_from)
        if not is_remote(cfg.load_from):
            _tell(cfg.load_from, check_match(model, load_state(cfg.load_from), cfg.load_from, partly=True))


def check_pretrained(model: nn.Module) -> None:
    """The same for every ``init_cfg=dict(type='Pretrained', checkpoint=...)`` in a model."""
    for name, module in model.named_modules():
        if getattr(type(module), 'init_weights', None) is not BaseModule.init_weights:
            # a part that reads the file its own way, often by renaming what is in it
            continue
        init = getattr(module, 'init_cfg', None)
        for part in init if isinstance(init, (list, tuple)) else (init,):
            if isinstance(part, Mapping) and part.get('type') in ('Pretrained', 'PretrainedInit'):
                _check_pretrained_part(name, module, part)


def _check_pretrained_part(name: str, module: nn.Module, init: Mapping[str, Any]) -> None:
    source = init.get('checkpoint')
    if not isinstance(source, str):
        raise SagaError(f"model.{name}.init_cfg: 'Pretrained' needs checkpoint='FILE'")
    if is_remote(source):
        return
    state = load_state(source)
    if init.get('prefix'):
        prefix = init['prefix'].rstrip('.') + '.'
        state = {key.removeprefix(prefix): value for key, value in state.items() if key.startswith(prefix)}
        if not state:
            raise SagaError(f'checkpoint {source}: holds nothing under the prefix {prefix!r} of model.{name}.init_cfg')
    _tell(source, check_match(module, state, source, partly=True, takes_prefix=True), name)


def _tell(source: str, match: Match, part: str = '') -> None:
    if not match.complete:
        untrained = '; what is missing starts untrained' if match.missing or match.reshaped else ''
        say(f'{source}{f" for {part}" if part else ""}: {match}{untrained}')


def _require_sections(cfg: Config, training: bool) -> None:
    purpose = 'train' if training else 'test'
    needed = {
        'train': ('model', 'train_dataloader', 'train_cfg', 'optim_wrapper'),
        'test': ('model', 'test_dataloader', 'test_cfg', 'test_evaluator'),
    }[purpose]
    lacking = [key for key in needed if cfg.get(key) is None]
    if lacking:
        raise SagaError(
            f'config {cfg.filename}: has no {", ".join(lacking)}, so there is nothing to {purpose}; '
            'is it a part that other configs inherit?'
        )


def _check_data(cfg: Config, training: bool) -> None:
    data = task_of(cfg).load_data()
    pictures: dict[str, set[str]] = {}
    for part in ('train', 'val') if training else ('test',):
        loader = cfg.get(f'{part}_dataloader')
        if loader is not None:
            pictures[part] = data.check(loader.dataset.to_dict(), need_annotations=part != 'test')
            _check_class_count(cfg, data, part, loader.dataset)
    if shared := shared_text(pictures.get('train', ()), pictures.get('val', ())):
        say(f'warning: {shared}')


def _check_class_count(cfg: Config, data: TaskData, part: str, dataset: dict[str, Any]) -> None:
    """Heads that predict more or fewer classes than the data has fail late, in a loss or in the evaluation."""
    for leaf in leaf_datasets(dataset):
        classes = data.metainfo_of(leaf).get('classes')
        if classes is None or isinstance(classes, str):
            continue
        for path, count in class_counts(cfg.model, data.compared):
            if count != len(classes):
                named = ', '.join(list(classes)[:5]) + (', ...' if len(classes) > 5 else '')
                raise SagaError(
                    f'config {cfg.filename}: {path}.num_classes is {count}, but the {part} data has {len(classes)} '
                    f'classes ({named}); set one to fit the other'
                )
