"""Train as the command line asks, and summarise the result."""

from __future__ import annotations

import os
from contextlib import nullcontext
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from shlex import quote
from typing import Any

import torch
from mmengine.config import Config
from mmengine.device import get_device
from mmengine.runner import Runner
from torch import nn

from saga_mm.display.console import command, is_speaker, say
from saga_mm.display.metrics import metric_name, number
from saga_mm.engine.band_training import band_training_runner
from saga_mm.engine.loader_workers import lost_workers_named
from saga_mm.engine.seeded_model import SeededModel
from saga_mm.engine.sharding import ShardRunner
from saga_mm.engine.stack_runner import build_runner, log_file
from saga_mm.errors import SagaError
from saga_mm.files import full_disk_named, locked_folder
from saga_mm.loading.build import config_mistakes
from saga_mm.loading.work_dir import newest_in
from saga_mm.operators import in_use
from saga_mm.parallel import check_agreement, loss_named, make_mesh
from saga_mm.runs.config_options import set_amp, set_auto_scale_lr, use_atomic_checkpoints
from saga_mm.runs.length import Length, fit_length
from saga_mm.runs.prepare import OF_TEST, RunOptions, check, prepare_config, tell_unused
from saga_mm.runs.resume import averages_weights, set_start
from saga_mm.runs.start import start_from
from saga_mm.runs.together import file_facts, short_text
from saga_mm.tasks import start_verb, task_of
from saga_mm.version import __version__

FITS = {'train_cfg.max_epochs': '--epochs', 'train_cfg.max_iters': '--iters'}


@dataclass
class TrainOptions(RunOptions):
    """The command line of a training.

    Attributes:
        resume: A file to continue from, a folder for the newest one in it, ``'auto'`` for the work folder, or None.
        weights: Weights to start from: of the whole model, of its backbone, or published ones of its backbone.
        bands: Processes that share each image; None for what the config says, or one.
        shard: Divide parameters and states of the optimizer among all processes.
        length: Another length, batch or rate than the config's.
        amp: Train in mixed precision.
        auto_scale_lr: Fit the learning rate to the number of images a step.
    """

    resume: str | None = None
    weights: str | None = None
    bands: int | None = None
    shard: bool = False
    length: Length = field(default_factory=Length)
    amp: bool = False
    auto_scale_lr: bool = False


def train(options: TrainOptions) -> Any:
    """Check everything, train, and say what came out.

    Returns:
        The runner, after training.

    Raises:
        SagaError: Something was wrong before the training started.
    """
    options.length.check()
    cfg = prepare_config(options, training=True)
    tell_unused(options.cfg_options, OF_TEST)
    busy = f'--work-dir {cfg.work_dir}: another training is running in this folder; wait for it, or name another folder'
    # of several processes one holds it: their locks would exclude each other
    with locked_folder(cfg.work_dir, busy) if is_speaker() else nullcontext():
        return _train(cfg, options)


def _train(cfg: Config, options: TrainOptions) -> Any:
    if options.amp:
        set_amp(cfg)
    if options.auto_scale_lr:
        set_auto_scale_lr(cfg)
    if options.weights is not None and options.resume is not None:
        raise SagaError('--weights: does not go with --resume, which goes on from a checkpoint')
    _set_processes(cfg, options)
    built = SeededModel(cfg)
    if options.weights is not None:
        start_from(cfg, options.weights, built.model)
        built = built if built.is_of(cfg) else SeededModel(cfg)
    model = built.model
    check(cfg, model, training=True, launcher=options.launcher)
    if int(os.environ.get('TORCHELASTIC_RESTART_COUNT', 0)) and not (options.resume or cfg.get('resume')):
        raise SagaError(
            'torchrun has started this training again; add --resume, and it goes on from the newest checkpoint'
        )
    start = set_start(cfg, model, options.resume)
    _fit(cfg, options, start)
    use_atomic_checkpoints(cfg)
    _introduce(cfg, model)
    # the runner builds another, of other numbers: not both at once
    give = built.give if built.is_of(cfg) and 'runner_type' not in cfg else None
    del model, built
    verb = start_verb(cfg, 'train', {})
    with loss_named():
        mesh = make_mesh(cfg.bands)
        # processes of another config or version would wait for each other at the first difference, and say nothing
        check_agreement(mesh, _facts(cfg))
        kind = ShardRunner if cfg.get('shard') else Runner
        if cfg.bands > 1:
            kind = band_training_runner(mesh, partial(verb.losses_in_bands, mesh=mesh))
        runner = build_runner(cfg, verb.prepare_model, start=start, model=give, kind=kind)
        say('reading the data')
        with config_mistakes(cfg), full_disk_named(cfg.work_dir), lost_workers_named():
            runner.train()
    _summarise(runner, options)
    return runner


def _set_processes(cfg: Config, options: TrainOptions) -> None:
    bands = cfg.get('bands', 1) if options.bands is None else options.bands
    if type(bands) is not int or bands < 1:
        raise SagaError(f'--bands {bands}: must be a number of processes')
    if bands > 1 and options.launcher == 'none':
        raise SagaError(
            f'--bands {bands}: needs processes: torchrun --nproc-per-node {bands} tools/train.py ... --launcher pytorch'
        )
    cfg.bands, cfg.shard = bands, bool(options.shard or cfg.get('shard'))
    if cfg.shard and options.launcher == 'none':
        raise SagaError('--shard: needs processes: torchrun --nproc-per-node 4 tools/train.py ... --launcher pytorch')
    if cfg.shard and averages_weights(cfg):
        raise SagaError('--shard: weights are not averaged (EMAHook) while they are divided; leave one of them out')
    chosen = [f'--bands {bands}'] * (bands > 1) + ['--shard'] * cfg.shard
    chosen += [f'runner_type={cfg.runner_type!r}'] if 'runner_type' in cfg else []
    if len(chosen) > 1:
        raise SagaError(f'{chosen[0]}: does not go with {chosen[1]}; leave one of them out')


def _facts(cfg: Config) -> dict[str, str]:
    """What has to be the same on all processes of a training."""
    start = Path(cfg.load_from) if cfg.get('load_from') else None
    config = {f'{key} of the config': short_text(repr(value)) for key, value in cfg.items()}
    return {'version': __version__, **config, 'checkpoint': file_facts(start)}


def _fit(cfg: Config, options: TrainOptions, start: dict[str, Any] | None) -> None:
    """Fit the config to the length that is asked for, and say what does not fit."""
    if fitted := fit_length(cfg, options.length):
        say(f'{fitted}; warm-up, schedule, validations and checkpoints follow')
    elif start is None:
        for key in set(options.cfg_options or ()) & {'train_cfg.max_epochs', 'train_cfg.max_iters'}:
            say(f'warning: {key} leaves the schedule of the learning rate as it is; {FITS[key]} fits it as well')
    base = (cfg.get('auto_scale_lr') or {}).get('base_batch_size')
    if options.length.batch_size and not options.length.lr and not options.auto_scale_lr and base:
        say(f'warning: the learning rate is for batches of {base}; --auto-scale-lr or --lr fits it')
    if cfg.get('needs_pretrained') and start is None and not _is_pretrained(cfg):
        say(f'warning: {cfg.filename} is made for a pretrained backbone, and starts without: name one with --weights')


def _is_pretrained(cfg: Config) -> bool:
    init = (cfg.model.get('backbone') or {}).get('init_cfg') or {}
    kinds = [part.get('type') for part in (init if isinstance(init, (list, tuple)) else [init])]
    return bool(cfg.get('load_from')) or 'Pretrained' in kinds


def _introduce(cfg: Config, model: nn.Module) -> None:
    device = get_device()
    threads = torch.get_num_threads()
    on_cpu = f'{device}, {threads} thread{"s" * (threads > 1)}'
    where = torch.cuda.get_device_name() if device == 'cuda' else on_cpu
    count = sum(parameter.numel() for parameter in model.parameters())
    backbone = getattr(model, 'backbone', None)
    with_backbone = f' with {type(backbone).__name__}' if backbone is not None else ''
    say(f'{cfg.filename}: {type(model).__name__}{with_backbone}, {count / 1e6:.1f} million parameters, on {where}')
    if cfg.get('default_scope') == 'mmdet':
        say(in_use())
    say(f'results go to {cfg.work_dir}')


def _summarise(runner: Any, options: TrainOptions) -> None:
    hub = runner.message_hub.runtime_info
    say('training is complete')
    lines: dict[str, Any] = {}
    newest = str(newest_in(runner.work_dir) or hub.get('last_ckpt') or '')
    best = hub.get('best_ckpt')
    if not isinstance(best, str) or not os.path.exists(best):
        best = newest
    if 'best_score' in hub:
        lines['best result'] = f'{number(hub["best_score"])}{_best_key(runner)}'
    lines['best checkpoint'], lines['newest'] = best, newest
    lines['log'] = log_file(runner)
    if best:
        # the copy in the work folder knows of data and options that the command line gave
        copied = options.cfg_options or options.own_data
        config = _short(os.path.join(runner.work_dir, os.path.basename(options.config))) if copied else options.config
        config, checkpoint, pictures = map(quote, (config, _short(best), f'{_short(runner.work_dir)}/pictures'))
        lines['evaluate and draw'] = command(f'test {config} {checkpoint} --show-dir {pictures}')
        folder = quote(os.path.dirname(_short(best)) or '.')
        names = {'config': config, 'checkpoint': checkpoint, 'folder': folder}
        lines['own pictures'] = ' && '.join(command(step.format(**names)) for step in task_of(runner.cfg).next_steps)
    width = max(map(len, lines))
    if is_speaker():
        print('\n'.join(f'  {name:<{width}}  {_short(value)}' for name, value in lines.items() if value))


def _best_key(runner: Any) -> str:
    from mmengine.hooks import CheckpointHook

    hook = next(hook for hook in runner.hooks if isinstance(hook, CheckpointHook))
    # 'auto' until an evaluation has shown what there is
    return f' ({metric_name(hook.key_indicators[0])})' if hook.key_indicators[0] != 'auto' else ''


def _short(path: str) -> str:
    """A path from where one is, if it lies below."""
    if not os.path.isabs(path):
        return path
    relative = os.path.relpath(path)
    return path if relative.startswith('..') else relative
