"""What the options of the tools do to a config."""

from __future__ import annotations

import argparse
import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

from saga_mm.errors import SagaError
from saga_mm.tasks import options_of
from saga_mm.tasks.own_data import OwnData
from saga_mm.tasks.task import option_text

if TYPE_CHECKING:
    from mmengine.config import Config

LAUNCHERS = ('none', 'pytorch', 'slurm', 'mpi')


def add_run_options(parser: argparse.ArgumentParser) -> None:
    """Options that training and testing share."""
    from mmengine.config import DictAction

    parser.add_argument('--work-dir', help='where logs and results go (default: work_dirs/ and the name of the config)')
    parser.add_argument(
        '--cfg-options',
        nargs='+',
        action=DictAction,
        metavar='KEY=VALUE',
        help='values of the config to change, for example train_cfg.max_epochs=3',
    )
    parser.add_argument('--launcher', choices=LAUNCHERS, default='none', help='how several processes are started')
    # older launchers pass it; the environment variable says the same
    parser.add_argument('--local_rank', '--local-rank', type=int, default=0, help=argparse.SUPPRESS)


def add_engine_options(parser: argparse.ArgumentParser) -> None:
    """Options that say where a model runs."""
    from saga_mm.engines import ENGINES, PRECISIONS

    parser.add_argument(
        '--engine',
        choices=ENGINES,
        default='auto',
        help='where the model runs: openvino compiles it for the CPU; auto does so where it is worth its start',
    )
    parser.add_argument(
        '--precision',
        choices=PRECISIONS,
        default='f32',
        help='bf16 multiplies in bfloat16, where the processor can (openvino alone; default: f32)',
    )
    parser.add_argument('--explain', action='store_true', help='say at the end what ran where, and why')


def add_data_options(parser: argparse.ArgumentParser, training: bool) -> None:
    """Options that name one's own data."""
    group = parser.add_argument_group('own data, in place of that of the config')
    group.add_argument('--data-root', metavar='DIR', help='folder that the paths below are relative to')
    for name, (option, tasks) in options_of('data').items():
        if training or not name.startswith('train_'):
            help_text = f'for {" and ".join(tasks)}: {option.help}'
            group.add_argument(option_text(name), help=help_text, **{'metavar': 'PATH', **option.settings})


def add_task_options(parser: argparse.ArgumentParser, *verbs: str) -> None:
    """Options of a command that some tasks have."""
    for verb in verbs:
        for name, (option, tasks) in options_of(verb).items():
            if not any(action.dest == name for action in parser._actions):
                help_text = f'for {" and ".join(tasks)}: {option.help}'
                parser.add_argument(option_text(name), help=help_text, **option.settings)


def task_options(args: argparse.Namespace, *verbs: str) -> dict[str, Any]:
    """What a command line gave of the options of :func:`add_task_options`."""
    return {name: getattr(args, name) for verb in verbs for name in options_of(verb)}


def own_data_of(args: argparse.Namespace) -> OwnData:
    """The data that a command line names."""
    return OwnData(**{name: getattr(args, name, None) for name in ('data_root', *options_of('data'))})


def set_work_dir(cfg: Config, config: str | os.PathLike[str], work_dir: str | None) -> None:
    """Set where results go: as asked, as the config says, or ``work_dirs/`` and the config's name."""
    if work_dir is not None:
        cfg.work_dir = work_dir
    elif cfg.get('work_dir') is None:
        cfg.work_dir = os.path.join('work_dirs', Path(config).stem)
    if os.path.exists(cfg.work_dir) and not os.path.isdir(cfg.work_dir):
        raise SagaError(f'--work-dir {cfg.work_dir}: is a file, and a folder is needed')
    try:
        os.makedirs(cfg.work_dir, exist_ok=True)
    except OSError as error:
        raise SagaError(f'--work-dir {cfg.work_dir}: cannot be made ({error.strerror})') from error
    if not os.access(cfg.work_dir, os.W_OK):
        raise SagaError(f'--work-dir {cfg.work_dir}: cannot be written to; name another folder')


def set_amp(cfg: Config) -> None:
    """Train in mixed precision."""
    from mmengine.device import get_device

    device = get_device()
    if device == 'cpu':
        raise SagaError('--amp: mixed precision needs a GPU, and none is visible here; train without --amp')
    kind = cfg.optim_wrapper.get('type', 'OptimWrapper')
    if kind not in ('OptimWrapper', 'AmpOptimWrapper'):
        raise SagaError(f'--amp: does not go with optim_wrapper.type={kind!r}; set the precision in the config')
    cfg.optim_wrapper.type = 'AmpOptimWrapper'
    cfg.optim_wrapper.setdefault('loss_scale', 'dynamic')


def set_auto_scale_lr(cfg: Config) -> None:
    """Fit the learning rate to the number of images a step."""
    if not isinstance((cfg.get('auto_scale_lr') or {}).get('base_batch_size'), int):
        raise SagaError(
            f'--auto-scale-lr: config {cfg.filename} does not say which batch its learning rate is for; '
            'add auto_scale_lr = dict(enable=False, base_batch_size=16)'
        )
    cfg.auto_scale_lr.enable = True


def set_launcher(cfg: Config, launcher: str) -> None:
    """Prepare for several processes; on machines without a GPU they talk through gloo.

    Raises:
        SagaError: The processes were not started the way ``launcher`` says.
    """
    import torch
    from mmengine.device import get_device

    cfg.launcher = launcher
    if launcher == 'none':
        return
    variable = {'pytorch': 'LOCAL_RANK', 'slurm': 'SLURM_PROCID', 'mpi': 'OMPI_COMM_WORLD_LOCAL_RANK'}[launcher]
    starter = {'pytorch': 'torchrun --nproc-per-node=2', 'slurm': 'srun', 'mpi': 'mpirun -np 2'}[launcher]
    if variable not in os.environ:
        raise SagaError(f'--launcher {launcher}: {variable} is not set; start the tool with {starter}')
    if get_device() != 'cpu':
        return
    if launcher != 'pytorch':
        raise SagaError(f'--launcher {launcher}: needs a GPU; without one use torchrun and --launcher pytorch')
    # mmengine's own way sets a CUDA device; a group that exists already is taken as it is
    if not torch.distributed.is_initialized():
        torch.distributed.init_process_group('gloo')
    wrapper: dict[str, Any] = {
        'type': 'MMDistributedDataParallel',
        'broadcast_buffers': False,
        'find_unused_parameters': cfg.get('find_unused_parameters', False),
    }
    if 'runner_type' not in cfg:
        cfg.model_wrapper_cfg = {**wrapper, **(cfg.get('model_wrapper_cfg') or {}), 'device_ids': None}
    elif (cfg.get('strategy') or {}).get('type', 'DDPStrategy') == 'DDPStrategy':
        cfg.strategy = {'type': 'DDPStrategy', **(cfg.get('strategy') or {})}
        cfg.strategy.model_wrapper = {**wrapper, **(cfg.strategy.get('model_wrapper') or {}), 'device_ids': None}


def use_atomic_checkpoints(cfg: Config) -> None:
    """Put our checkpoint hook wherever a config asks for mmengine's, by any of its names or by the class."""
    from mmengine.hooks import CheckpointHook
    from mmengine.registry import HOOKS, DefaultScope

    cfg.default_hooks = {'checkpoint': {'type': 'CheckpointHook', 'interval': 1}, **(cfg.get('default_hooks') or {})}
    for hook in [*cfg.default_hooks.values(), *(cfg.get('custom_hooks') or [])]:
        kind = hook.get('type') if isinstance(hook, dict) else None
        if isinstance(kind, str):
            with DefaultScope.overwrite_default_scope(cfg.get('default_scope', 'mmengine')):
                kind = HOOKS.get(kind)
        if kind is CheckpointHook:
            hook['type'] = 'saga_mm.AtomicCheckpointHook'
