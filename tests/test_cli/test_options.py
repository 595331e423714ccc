import argparse

import pytest
from mmengine.config import Config
from mmengine.device import get_device
from mmengine.hooks import CheckpointHook

from saga_mm.cli.options import (
    add_data_options,
    add_run_options,
    own_data_of,
    set_amp,
    set_auto_scale_lr,
    set_launcher,
    set_work_dir,
    use_atomic_checkpoints,
)
from saga_mm.errors import SagaError


def parse(*words: str) -> argparse.Namespace:
    parser = argparse.ArgumentParser()
    add_run_options(parser)
    add_data_options(parser, training=True)
    return parser.parse_args(words)


def test_command_line():
    args = parse('--cfg-options', 'a.b=1', 'c=[x,y]', '--local-rank', '1', '--val-ann', 'v.json')
    assert args.cfg_options == {'a.b': 1, 'c': ['x', 'y']} and args.local_rank == 1 and args.launcher == 'none'
    own = own_data_of(args)
    assert own and own.get('val_ann') == 'v.json' and own.get('train_ann') is None
    assert not own_data_of(parse())
    own = own_data_of(parse('--train-mask', 'm', '--classes', 'c.txt'))
    assert (own.get('train_mask'), own.get('classes'), own.given(own.paths)) == (
        'm',
        'c.txt',
        '--train-mask, --classes',
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
    monkeypatch.setenv('SLURM_PROCID', '0')
    with pytest.raises(SagaError, match='--launcher slurm: needs a GPU'):
        set_launcher(Config({}), 'slurm')

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
