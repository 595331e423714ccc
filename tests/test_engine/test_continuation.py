from types import SimpleNamespace

import pytest
from mmengine.dataset import DefaultSampler, InfiniteSampler
from torch.utils.data import DataLoader

from saga_mm.engine.continuation import place_training_data
from saga_mm.errors import SagaError


def runner_of(loader: DataLoader) -> SimpleNamespace:
    return SimpleNamespace(build_dataloader=lambda given, **options: loader, _train_dataloader=loader)


@pytest.mark.parametrize(
    ('count', 'batch', 'drop', 'refused'), [(3, 4, True, True), (3, 4, False, False), (4, 4, True, False)]
)
def test_a_training_without_a_batch_is_refused(count, batch, drop, refused):
    data = list(range(count))
    loader = DataLoader(data, batch_size=batch, sampler=DefaultSampler(data), drop_last=drop)
    runner = runner_of(loader)
    place_training_data(runner, None)
    if refused:
        with pytest.raises(SagaError, match=r'3 pictures fill no batch of 4, .* smaller --batch-size'):
            runner.build_dataloader(loader)
    else:
        assert runner.build_dataloader(loader) is loader


def test_an_endless_sampler_fills_any_batch():
    data = list(range(3))
    loader = DataLoader(data, batch_size=4, sampler=InfiniteSampler(data), drop_last=True)
    runner = runner_of(loader)
    place_training_data(runner, None)
    assert runner.build_dataloader(loader) is loader


def test_other_loaders_may_be_empty():
    loader = DataLoader([1], batch_size=4, sampler=DefaultSampler([1]), drop_last=True)
    runner = runner_of(loader)
    runner._train_dataloader = None
    place_training_data(runner, None)
    assert runner.build_dataloader(loader) is loader
