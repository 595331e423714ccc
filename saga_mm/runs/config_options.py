"""Apply options of a run to its config."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mmengine.device import get_device
from mmengine.hooks import CheckpointHook
from mmengine.registry import HOOKS, DefaultScope

from saga_mm.errors import SagaError
from saga_mm.files import user_path
from saga_mm.parallel import join_processes, take_slurm

if TYPE_CHECKING:
    from mmengine.config import Config


def set_work_dir(cfg: Config, config: str | os.PathLike[str], work_dir: str | None) -> None:
    """Set where results go: as asked, as the config says, or ``work_dirs/`` and the config's name."""
    if work_dir is not None:
        cfg.work_dir = work_dir
    elif cfg.get('work_dir') is None:
        cfg.work_dir = os.path.join('work_dirs', Path(config).stem)
    # mmengine takes the name as it stands, and --resume looks where it leads
    cfg.work_dir = str(user_path(cfg.work_dir))
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
    """Join the processes that were started; on machines without a GPU they talk through gloo.

    Raises:
        SagaError: The processes were not started the way ``launcher`` says, or not all came.
    """
    cfg.launcher = launcher
    if launcher == 'none':
        return
    variable = {'pytorch': 'LOCAL_RANK', 'slurm': 'SLURM_PROCID', 'mpi': 'OMPI_COMM_WORLD_LOCAL_RANK'}[launcher]
    starter = {'pytorch': 'torchrun --nproc-per-node=2', 'slurm': 'srun', 'mpi': 'mpirun -np 2'}[launcher]
    if variable not in os.environ:
        raise SagaError(f'--launcher {launcher}: {variable} is not set; start the tool with {starter}')
    device = get_device()
    if launcher == 'mpi':
        if device == 'cpu':
            raise SagaError('--launcher mpi: needs a GPU; without one use torchrun and --launcher pytorch')
        return
    if launcher == 'slurm':
        take_slurm()
    if device in ('cpu', 'cuda'):
        # mmengine's own way needs a GPU; processes that are joined already are taken as they are
        dist_cfg = (cfg.get('env_cfg') or {}).get('dist_cfg') or {}
        join_processes(device, dist_cfg.get('timeout'), dist_cfg.get('backend') if device == 'cuda' else 'gloo')
    if device == 'cpu':
        _wrap_on_cpu(cfg)


def _wrap_on_cpu(cfg: Config) -> None:
    wrapper: dict[str, Any] = {
        'type': 'MMDistributedDataParallel',
        'broadcast_buffers': False,
        # as mmengine takes it where it wraps the model itself
        'find_unused_parameters': cfg.get('find_unused_parameters', False),
    }
    if 'runner_type' not in cfg:
        cfg.model_wrapper_cfg = {**wrapper, **(cfg.get('model_wrapper_cfg') or {}), 'device_ids': None}
    elif (cfg.get('strategy') or {}).get('type', 'DDPStrategy') == 'DDPStrategy':
        cfg.strategy = {'type': 'DDPStrategy', **(cfg.get('strategy') or {})}
        cfg.strategy.model_wrapper = {**wrapper, **(cfg.strategy.get('model_wrapper') or {}), 'device_ids': None}


def use_atomic_checkpoints(cfg: Config) -> None:
    """Put our checkpoint hook wherever a config asks for mmengine's, by any of its names or by the class."""
    cfg.default_hooks = {'checkpoint': {'type': 'CheckpointHook', 'interval': 1}, **(cfg.get('default_hooks') or {})}
    for hook in [*cfg.default_hooks.values(), *(cfg.get('custom_hooks') or [])]:
        kind = hook.get('type') if isinstance(hook, dict) else None
        if isinstance(kind, str):
            # names are looked up as mmengine will, so that a class of the user's own called CheckpointHook stays
            with DefaultScope.overwrite_default_scope(cfg.get('default_scope', 'mmengine')):
                kind = HOOKS.get(kind)
        if kind is CheckpointHook:
            hook['type'] = 'saga_mm.AtomicCheckpointHook'
