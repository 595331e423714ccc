import pytest
from mmengine.config import Config
from mmengine.device import get_device
from mmengine.hooks import CheckpointHook

from saga_mm.errors import SagaError
from saga_mm.runs.config_options import (
    set_amp,
    set_auto_scale_lr,
    set_launcher,
    set_work_dir,
    use_atomic_checkpoints,
)


def test_work_dir(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    cfg = Config({})
    set_work_dir(cfg, 'configs/name.py', None)
    assert cfg.work_dir == 'work_dirs/name' and (tmp_path / 'work_dirs' / 'name').is_dir()
    set_work_dir(cfg, 'configs/other.py', None)
    assert cfg.work_dir == 'work_dirs/name'
    set_work_dir(cfg, 'configs/other.py', 'here')
    assert cfg.work_dir == 'here'
    (tmp_path / 'file').write_text('')
    for bad in ('file', 'file/inner'):
        with pytest.raises(SagaError, match=f'--work-dir {bad}: '):
            set_work_dir(cfg, 'configs/other.py', bad)


def test_a_work_dir_in_the_home_folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv('HOME', str(tmp_path / 'home'))
    cfg = Config({'work_dir': '~/runs'})
    set_work_dir(cfg, 'configs/name.py', None)
    assert cfg.work_dir == str(tmp_path / 'home' / 'runs') and not (tmp_path / '~').exists()


def test_amp():
    cfg = Config(dict(optim_wrapper=dict(type='OptimWrapper')))
    if get_device() == 'cpu':
        with pytest.raises(SagaError, match='--amp: mixed precision needs a GPU'):
            set_amp(cfg)
    else:
        set_amp(cfg)
        assert cfg.optim_wrapper == dict(type='AmpOptimWrapper', loss_scale='dynamic')


def test_auto_scale_lr():
    cfg = Config(dict(auto_scale_lr=dict(enable=False, base_batch_size=16)))
    set_auto_scale_lr(cfg)
    assert cfg.auto_scale_lr.enable
    with pytest.raises(SagaError, match='base_batch_size=16'):
        set_auto_scale_lr(Config({}))


@pytest.mark.parametrize(
    ('launcher', 'variable'),
    [('pytorch', 'LOCAL_RANK'), ('slurm', 'SLURM_PROCID'), ('mpi', 'OMPI_COMM_WORLD_LOCAL_RANK')],
)
def test_launcher_without_its_processes(monkeypatch, launcher, variable):
    monkeypatch.delenv(variable, raising=False)
    with pytest.raises(SagaError, match=f'--launcher {launcher}: {variable} is not set; start the tool with'):
        set_launcher(Config({}), launcher)


@pytest.mark.skipif(get_device() != 'cpu', reason='is about machines without a GPU')
def test_launchers_on_a_cpu(monkeypatch):
    monkeypatch.setenv('OMPI_COMM_WORLD_LOCAL_RANK', '0')
    with pytest.raises(SagaError, match='--launcher mpi: needs a GPU'):
        set_launcher(Config({}), 'mpi')

    monkeypatch.setenv('LOCAL_RANK', '0')
    monkeypatch.setattr('torch.distributed.is_initialized', lambda: True)
    cfg = Config(dict(model_wrapper_cfg=dict(find_unused_parameters=True)))
    set_launcher(cfg, 'pytorch')
    wrapper = dict(
        type='MMDistributedDataParallel', broadcast_buffers=False, find_unused_parameters=True, device_ids=None
    )
    assert cfg.launcher == 'pytorch' and cfg.model_wrapper_cfg == wrapper
    cfg = Config(dict(runner_type='FlexibleRunner', find_unused_parameters=True))
    set_launcher(cfg, 'pytorch')
    assert cfg.strategy == dict(type='DDPStrategy', model_wrapper=wrapper)


@pytest.mark.parametrize(
    'name', ['CheckpointHook', 'mmengine.CheckpointHook', 'mmengine.hooks.CheckpointHook', CheckpointHook]
)
def test_the_checkpoint_hook_by_any_name(name):
    cfg = Config(dict(default_hooks=dict(checkpoint=dict(type=name)), default_scope='mmengine'))
    use_atomic_checkpoints(cfg)
    assert cfg.default_hooks.checkpoint.type == 'saga_mm.AtomicCheckpointHook'


def test_atomic_checkpoints():
    cfg = Config(dict(default_hooks=dict(checkpoint=dict(type='CheckpointHook', interval=3), logger=dict(type='A'))))
    use_atomic_checkpoints(cfg)
    assert cfg.default_hooks.checkpoint == dict(type='saga_mm.AtomicCheckpointHook', interval=3)
    assert cfg.default_hooks.logger == dict(type='A')
    cfg = Config({})
    use_atomic_checkpoints(cfg)
    assert cfg.default_hooks.checkpoint == dict(type='saga_mm.AtomicCheckpointHook', interval=1)
    cfg = Config(dict(default_hooks=dict(checkpoint=dict(type='Mine')), custom_hooks=[dict(type='CheckpointHook')]))
    use_atomic_checkpoints(cfg)
    assert cfg.default_hooks.checkpoint.type == 'Mine' and cfg.custom_hooks[0].type == 'saga_mm.AtomicCheckpointHook'
