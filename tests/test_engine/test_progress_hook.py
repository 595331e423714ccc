"""Lines of a training: how far it is, and not too often."""

from types import SimpleNamespace

import numpy as np
import pytest
from mmengine.logging import HistoryBuffer
from mmengine.runner import EpochBasedTrainLoop

from saga_mm.engine.progress_hook import ProgressHook


def runner(iteration: int = 0, **more: object) -> SimpleNamespace:
    losses = HistoryBuffer(np.array([2.0, 1.0]), np.ones(2))
    given = {
        'iter': iteration,
        'max_iters': 40,
        'train_dataloader': SimpleNamespace(dataset=range(12)),
        'val_dataloader': range(5),
        'test_dataloader': range(7),
        'train_loop': None,
        'message_hub': SimpleNamespace(log_scalars={'train/loss': losses}, runtime_info={}),
    }
    return SimpleNamespace(**{**given, **more})


@pytest.fixture
def hook() -> ProgressHook:
    return ProgressHook(seconds=1000)


@pytest.fixture
def said(capsys):
    """The lines that were printed, without the time of day."""

    def lines() -> list[str]:
        return [line.split('  ', 1)[1] for line in capsys.readouterr().out.splitlines()]

    return lines


def test_what_is_trained_and_what_is_left(hook, said):
    hook.before_train(runner())
    hook.before_train(runner(9))
    hook.before_train(runner(40))
    assert said() == [
        'training on 12 images, 40 iterations',
        'training on 12 images, 40 iterations, from iteration 9 on',
        'nothing is left to train: 40 iterations are done, and the config asks for 40',
    ]


def test_the_first_and_the_last_iteration_and_few_between(hook, said):
    for iteration in range(40):
        hook.after_train_iter(runner(iteration), iteration)
    assert said() == ['iteration 1/40  loss 1.5000', 'iteration 40/40  loss 1.5000']
    often = ProgressHook(seconds=0)
    for iteration in range(3):
        often.after_train_iter(runner(iteration), iteration)
    assert len(said()) == 3


def test_epochs_are_counted_where_there_are_some(hook, said):
    loop = EpochBasedTrainLoop.__new__(EpochBasedTrainLoop)
    hook.after_train_iter(runner(0, train_loop=loop, epoch=2, max_epochs=4), 0)
    assert said() == ['epoch 3/4, iteration 1/40  loss 1.5000']
    # mmengine's estimate, in seconds
    known = SimpleNamespace(log_scalars={}, runtime_info={'eta': 3725.2})
    hook.after_train_iter(runner(0, message_hub=known), 0)
    assert said() == ['iteration 1/40  1:02:05 left']


def test_validations(hook, said):
    for index in range(5):
        hook.after_val_iter(runner(), index)
    hook.after_val_epoch(runner(), {'acc': 0.5})
    hook.after_test_iter(runner(), 0)
    first, figures = said()
    assert first == 'validating, 1/5' and figures.startswith('validated: ') and 'acc' in figures
