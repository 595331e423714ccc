"""Where a training starts: anew, from weights that the config names, or where an earlier training stopped."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from mmengine.config import Config
from torch import nn

from saga_mm.display.console import say
from saga_mm.errors import SagaError
from saga_mm.files import user_path
from saga_mm.loading.checkpoint import keep, state_of
from saga_mm.loading.weight_match import check_match
from saga_mm.loading.work_dir import find_newest, load_training_state, stay_inside
from saga_mm.runs.prepare import check_load_from
from saga_mm.tasks.trained_classes import fit_classes


def set_start(cfg: Config, model: nn.Module, resume: str | None) -> dict[str, Any] | None:
    """Decide where a training starts: anew, from the weights of ``load_from``, or where another one stopped.

    Returns:
        What the checkpoint says of a training that goes on (``meta``).
    """
    if resume is None and cfg.get('resume'):
        resume = cfg.resume if isinstance(cfg.resume, str) else cfg.get('load_from') or 'auto'
    file = _file_to_resume(cfg, resume) if resume else None
    if file is None:
        cfg.resume = False
        check_load_from(cfg, model)
        return None
    checkpoint = load_training_state(file)
    fit_classes(cfg, checkpoint['meta'], file, [f'{part}_dataloader' for part in ('train', 'val', 'test')])
    check_match(model, state_of(checkpoint), file)
    if 'ema_state_dict' in checkpoint:
        _check_average(model, checkpoint['ema_state_dict'], file)
    _follow_averaging(cfg, checkpoint)
    stay_inside(checkpoint, cfg.work_dir)
    keep(file, checkpoint)
    say(f'resuming from {file}, iteration {checkpoint["meta"]["iter"]}')
    cfg.resume, cfg.load_from = True, str(file)
    _take_seed(cfg, checkpoint['meta'].get('seed'))
    return dict(checkpoint['meta'])


def averages_weights(cfg: Config) -> bool:
    """Whether a config averages the weights of its training (EMA)."""
    hooks = [hook.get('type') for hook in cfg.get('custom_hooks') or [] if isinstance(hook, dict)]
    return any('EMAHook' in str(kind) for kind in hooks)


def _file_to_resume(cfg: Config, resume: str) -> Path | None:
    """The checkpoint meant by ``--resume``; None if the work folder has none yet."""
    named = user_path(cfg.work_dir if resume == 'auto' else resume)
    if not named.is_dir():
        return named
    newest, broken = find_newest(named)
    for reason in broken:
        say(f'warning: skipped {reason}')
    if newest is None and resume != 'auto':
        raise SagaError(f'--resume {resume}: has no checkpoint to continue from')
    if newest is None:
        say(f'nothing to resume in {named}; starting from the beginning')
    return newest


def _take_seed(cfg: Config, seed: int | None) -> None:
    """Go on with the seed of a checkpoint, by which the order of its data was drawn."""
    named = (cfg.get('randomness') or {}).get('seed')
    if seed is None or seed == named:
        return
    if named is not None:
        say(f'randomness.seed stays {seed}, as in the checkpoint; a training with {named} starts without --resume')
    cfg.randomness = {**(cfg.get('randomness') or {}), 'seed': seed}


def _check_average(model: nn.Module, averaged: Any, file: Path) -> None:
    """Refuse averaged weights of another model; mmengine keeps them beside a count of steps, under ``module.``."""
    named = isinstance(averaged, dict) and all(isinstance(name, str) for name in averaged)
    steps = averaged.get('steps') if named else None
    if not isinstance(steps, torch.Tensor) or steps.ndim:
        raise SagaError(f'checkpoint {file}: its ema_state_dict holds no averaged weights with a count of steps')
    check_match(model, {name.removeprefix('module.'): averaged[name] for name in averaged if name != 'steps'}, file)


def _follow_averaging(cfg: Config, checkpoint: dict[str, Any]) -> None:
    """Where a config averages weights no longer, go on from those that were trained, to which the optimizer belongs.

    mmengine's EMAHook saves the averages as the weights, and the weights beside them.
    """
    trained = checkpoint.get('ema_state_dict')
    if trained is None and averages_weights(cfg):
        say('custom_hooks: weights are averaged (EMAHook) from here on; the checkpoint has no averages')
    if trained is not None and not averages_weights(cfg):
        state = state_of(checkpoint)
        own = {name: trained.get(f'module.{name}', value) for name, value in state.items()}
        checkpoint['state_dict'] = own
        del checkpoint['ema_state_dict']
        say('custom_hooks: weights are averaged (EMAHook) no longer; going on from those that were trained')
