"""Values in a config that are refused before anything is built."""

import pytest
from mmengine.config import Config

from saga_mm.errors import SagaError
from saga_mm.runs.values import check_values

FINE = {
    'train_cfg.max_iters': 5,
    'train_cfg.val_interval': 1,
    'train_dataloader.batch_size': 1,
    'train_dataloader.num_workers': 0,
    'test_dataloader.batch_size': 2,
    'optim_wrapper.optimizer.lr': 0.1,
    'optim_wrapper.optimizer.weight_decay': 0,
    'randomness.seed': None,
}


def config(**change):
    cfg = Config({})
    cfg.merge_from_dict({**FINE, **change})
    return cfg


@pytest.mark.parametrize(
    ('path', 'value', 'wanted'),
    [
        ('train_cfg.val_interval', 0, 'a whole number from 1 on'),
        ('train_cfg.max_iters', -3, 'a whole number from 1 on'),
        ('train_cfg.max_epochs', 2.5, 'a whole number from 1 on'),
        ('train_dataloader.batch_size', '4', 'a whole number from 1 on'),
        ('train_dataloader.num_workers', -1, 'a whole number from 0 on'),
        ('val_dataloader.batch_size', True, 'a whole number from 1 on'),
        ('optim_wrapper.accumulative_counts', 0, 'a whole number from 1 on'),
        ('optim_wrapper.optimizer.lr', 'abc', 'a number from 0 on'),
        ('optim_wrapper.optimizer.lr', float('nan'), 'a number from 0 on'),
        ('optim_wrapper.optimizer.weight_decay', -1, 'a number from 0 on'),
        ('optim_wrapper.clip_grad.max_norm', -1, 'a number from 0 on'),
        ('log_level', 'LOUD', 'one of CRITICAL, ERROR, WARNING, INFO, DEBUG'),
        ('env_cfg.mp_cfg.mp_start_method', 'nothing', 'one of '),
        ('randomness.seed', -1, 'a whole number from 0 to 4294967295'),
        ('randomness.seed', 'x', 'a whole number from 0 to 4294967295'),
    ],
)
def test_the_option_is_named(path, value, wanted):
    check_values(config(), training=True)
    with pytest.raises(SagaError, match=f'{path} is {value!r}; it must be {wanted}'):
        check_values(config(**{path: value}), training=True)


def test_a_test_reads_numbers_of_its_own():
    check_values(config(**{'train_cfg.val_interval': 0, 'train_dataloader.batch_size': 0}), training=False)
    with pytest.raises(SagaError, match=r'test_dataloader\.batch_size is 0'):
        check_values(config(**{'test_dataloader.batch_size': 0}), training=False)


def test_factors_that_schedulers_divide_by():
    steps = [{'type': 'LinearLR', 'start_factor': 1e-6}, {'type': 'ReduceOnPlateauLR', 'factor': 0}]
    check_values(config(param_scheduler=steps), training=True)
    for more in ({'type': 'LinearLR', 'start_factor': 0}, {'type': 'ConstantLR', 'factor': 0.0}):
        name = next(key for key in more if key != 'type')
        with pytest.raises(SagaError, match=rf'param_scheduler\.2\.{name} is 0; it must be more'):
            check_values(config(param_scheduler=[*steps, more]), training=True)
