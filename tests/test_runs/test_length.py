import math
from pathlib import Path

import pytest
import torch
from mmengine.config import Config
from mmengine.registry import DATASETS, PARAM_SCHEDULERS

from saga_mm.errors import SagaError
from saga_mm.loading.config import load_config
from saga_mm.runs.length import Length, fit_length

SCHEDULES = sorted((Path(__file__).parents[2] / 'configs' / '_base_' / 'schedules').glob('*.py'))
BATCH = 4


@DATASETS.register_module(force=True)
class ToyImages:
    """A data set of so many images."""

    def __init__(self, length: int) -> None:
        self.length = length

    def __len__(self) -> int:
        return self.length


def schedule(path: Path, images: int = 61) -> Config:
    """A config with this schedule, on data of one's own."""
    cfg = Config.fromfile(path)
    cfg.train_dataloader = dict(batch_size=BATCH, dataset=dict(type='ToyImages', length=images))
    cfg.default_hooks = dict(
        logger=dict(type='LoggerHook', interval=50),
        checkpoint=dict(type='CheckpointHook', by_epoch='max_epochs' in cfg.train_cfg, interval=1),
    )
    return cfg


def rates(cfg: Config, total: int, per_epoch: int) -> list[float]:
    """The learning rate at each iteration, relative to that of the optimizer."""
    optimizer = torch.optim.SGD([torch.nn.Parameter(torch.ones(1))], lr=1.0)
    built = []
    for options in map(dict, cfg.param_scheduler):
        cls = PARAM_SCHEDULERS.get(options.pop('type'))
        if options.pop('convert_to_iter_based', False):
            built.append(cls.build_iter_from_epoch(optimizer, epoch_length=per_epoch, **options))
        else:
            built.append(cls(optimizer, **options))
    found = []
    for done in range(1, total + 1):
        found.append(optimizer.param_groups[0]['lr'])
        optimizer.step()
        for scheduler in built:
            if not scheduler.by_epoch or done % per_epoch == 0:
                scheduler.step()
    return found


def relative(path: Path, length: Length) -> list[float]:
    cfg = schedule(path)
    rate = cfg.optim_wrapper.optimizer.lr
    for scheduler in cfg.param_scheduler:
        if 'eta_min' in scheduler:
            scheduler.eta_min /= rate
    fit_length(cfg, length)
    per_epoch = math.ceil(61 / BATCH)
    loop = cfg.train_cfg
    total = loop.max_epochs * per_epoch if 'max_epochs' in loop else loop.max_iters
    return rates(cfg, total, per_epoch)


@pytest.mark.parametrize('path', SCHEDULES, ids=lambda path: path.stem)
@pytest.mark.parametrize('length', [Length(epochs=3), Length(iters=120), Length(epochs=40)], ids=['3e', '120i', '40e'])
def test_each_shipped_schedule_warms_up_and_ends_within_a_short_training(path, length):
    if Config.fromfile(path).get('param_scheduler') is None:
        pytest.skip('a constant rate')
    found = relative(path, length)
    assert len(found) == (length.iters or 16 * length.epochs)
    assert max(found) == pytest.approx(1, abs=0.1) and found.index(max(found)) <= 0.2 * len(found)
    assert found[-1] < 0.16
    # it is trained at a rate that trains for a good part of the time
    assert sum(rate > 0.3 for rate in found) > 0.4 * len(found)


@pytest.mark.parametrize('name', ['camvid_4k', 'demo_lowlight'])
def test_a_schedule_in_iterations_keeps_its_shape(name):
    path = next(path for path in SCHEDULES if path.stem == name)
    cfg = schedule(path)
    full, short = rates(cfg, cfg.train_cfg.max_iters, 1), relative(path, Length(iters=200))
    sampled = [full[int(index * len(full) / 200)] for index in range(200)]
    # beside the edges of the warm-up, which are rounded
    assert short[20:] == pytest.approx(sampled[20:], abs=0.01) and short[:5] == pytest.approx(sampled[:5], abs=0.1)


def test_milestones_keep_their_share():
    cfg = schedule(next(path for path in SCHEDULES if path.stem == 'adamw_1x'))
    assert fit_length(cfg, Length(epochs=3)) == '3 epochs of 16 iterations'
    warm_up, steps = cfg.param_scheduler
    assert (warm_up['begin'], warm_up['end']) == (0, 5)
    assert steps['milestones'] == [32, 44] and steps['end'] == 48 and not steps['by_epoch']
    # on data that is large enough, the warm-up is that of the recipe
    cfg = schedule(next(path for path in SCHEDULES if path.stem == 'adamw_1x'), images=40_000)
    fit_length(cfg, Length(epochs=3))
    assert cfg.param_scheduler[0]['end'] == 500


def test_validations_checkpoints_and_averages_follow():
    cfg = load_config('ade20k/upernet_saga-pvt-t_160k_ade20k-512x512.py')
    fit_length(cfg, Length(iters=1000))
    assert cfg.train_cfg.max_iters == 1000 and cfg.train_cfg.val_interval == 200
    assert cfg.default_hooks.checkpoint.interval == 200 and cfg.default_hooks.logger.interval == 50
    cfg = load_config('imagenet/saga-cswin-tiny_8xb256_in1k.py')
    cfg.train_dataloader.dataset = dict(type='ToyImages', length=2560)
    cfg.train_dataloader.batch_size = 256
    fit_length(cfg, Length(epochs=30))
    assert cfg.train_cfg.max_epochs == 30 and cfg.train_cfg.val_interval == 1
    assert cfg.default_hooks.checkpoint.interval == 1
    assert cfg.custom_hooks[0].momentum == pytest.approx(1 / 30)
    # a longer training keeps what its recipe does
    cfg = load_config('ade20k/upernet_saga-pvt-t_160k_ade20k-512x512.py')
    fit_length(cfg, Length(iters=320_000))
    assert cfg.train_cfg.val_interval == 8000 and cfg.param_scheduler[0]['end'] == 3000


def test_a_recipe_in_epochs_in_iterations():
    cfg = schedule(next(path for path in SCHEDULES if path.stem == 'demo'))
    assert fit_length(cfg, Length(iters=30)) == '30 iterations'
    loop = cfg.train_cfg
    assert (loop.type, loop.max_iters, loop.val_interval) == ('IterBasedTrainLoop', 30, 13)
    assert cfg.log_processor.by_epoch is False and cfg.default_hooks.logger.log_metric_by_epoch is False
    assert cfg.default_hooks.checkpoint == dict(type='CheckpointHook', by_epoch=False, interval=6)


def test_batch_and_rate():
    cfg = load_config('ade20k/semantic-fpn_saga-pvt-t_80k_ade20k-512x512.py')
    before = cfg.param_scheduler[0].get('eta_min')
    rate = cfg.optim_wrapper.optimizer.lr
    assert fit_length(cfg, Length(batch_size=3, lr=rate / 2)) == ''
    assert cfg.train_dataloader.batch_size == 3 and cfg.optim_wrapper.optimizer.lr == rate / 2
    assert cfg.param_scheduler[0].get('eta_min') == before / 2 and cfg.train_cfg.max_iters == 80000
    one = load_config('imagenet/saga-pvt-tiny_8xb128_in1k.py')
    one.train_dataloader.dataset = dict(type='ToyImages', length=100)
    assert fit_length(one, Length(epochs=2, batch_size=10)) == '2 epochs of 10 iterations'


@pytest.mark.parametrize(
    ('length', 'words'),
    [
        (Length(epochs=0), '--epochs 0: must be more than 0'),
        (Length(lr=math.nan), '--lr nan: must be more than 0'),
        (Length(epochs=1, iters=5), '--iters 5: --epochs 1 gives the length already'),
    ],
)
def test_what_makes_no_training(length, words):
    with pytest.raises(SagaError, match=words):
        fit_length(schedule(SCHEDULES[0]), length)


def test_other_loops_and_optimizers_are_named():
    cfg = schedule(SCHEDULES[0])
    cfg.train_cfg.type = 'MyLoop'
    with pytest.raises(SagaError, match=r'train_cfg\.type is MyLoop'):
        fit_length(cfg, Length(epochs=1))
    for wrapper in (dict(constructor='Mine'), dict(optimizer=dict(type='SGD', lr=0.0))):
        cfg.optim_wrapper = wrapper
        with pytest.raises(SagaError, match=r'has no optim_wrapper\.optimizer\.lr'):
            fit_length(cfg, Length(lr=1.0))
