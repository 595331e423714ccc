import copy

import pytest
import torch
from mmengine.optim import OptimWrapper
from mmengine.optim.scheduler import CosineAnnealingLR, LinearLR, MultiStepLR, ReduceOnPlateauLR
from torch.optim import SGD

from saga_mm.engine.schedule import Position, follow_config, place_in_epochs


def built(lr: float = 0.1, schedule: tuple = (), **options: float) -> tuple[OptimWrapper, list]:
    net = torch.nn.Linear(2, 1)
    wrapper = OptimWrapper(SGD([{'params': [p], 'weight_decay': 0.1} for p in net.parameters()], lr=lr, **options))
    return wrapper, [kind(wrapper.optimizer, **facts) for kind, facts in schedule]


def warm_then(end: int) -> tuple:
    return (
        (LinearLR, dict(start_factor=0.01, by_epoch=False, end=5)),
        (CosineAnnealingLR, dict(T_max=end - 5, eta_min=1e-4, by_epoch=False, begin=5, end=end)),
    )


def stepped(schedulers: list, position: Position) -> list[float]:
    rates = []
    for by_epoch in position.steps():
        for scheduler in schedulers:
            if scheduler.by_epoch is by_epoch:
                scheduler.step()
        rates.append(schedulers[0].optimizer.param_groups[0]['lr'])
    return rates


def saved(wrapper: OptimWrapper, schedulers: list) -> dict:
    states = [scheduler.state_dict() for scheduler in schedulers]
    return copy.deepcopy({'optimizer': wrapper.state_dict(), 'param_schedulers': states})


def go_on(wrapper: OptimWrapper, schedulers: list, checkpoint: dict) -> None:
    wrapper.load_state_dict(checkpoint['optimizer'])
    for scheduler, state in zip(schedulers, checkpoint['param_schedulers'], strict=True):
        scheduler.load_state_dict(state)


@pytest.mark.parametrize(
    'new',
    [
        dict(schedule=warm_then(40)),
        dict(lr=0.05, schedule=warm_then(20)),
        dict(schedule=((MultiStepLR, dict(milestones=[3, 25], by_epoch=False)),)),
        dict(schedule=((MultiStepLR, dict(milestones=[1, 3], by_epoch=True)), *warm_then(40))),
        dict(schedule=warm_then(40), momentum=0.5),
    ],
)
def test_a_changed_schedule_is_the_one_that_would_have_been(new):
    old, position = built(schedule=warm_then(20)), Position(2, 20, 10)
    stepped(old[1], position)
    checkpoint = saved(*old)
    wrapper, schedulers = built(**new)
    assert follow_config(wrapper, schedulers, checkpoint, position)
    go_on(wrapper, schedulers, checkpoint)
    fresh, straight = built(**new)
    rates = stepped(straight, Position(4, 40, 10))
    assert fresh.param_groups[0]['momentum'] == wrapper.param_groups[0]['momentum']
    # two ends of epochs are among the first 22 steps
    assert rates[21] == wrapper.param_groups[0]['lr']


def test_the_same_config_takes_the_state_as_it_is():
    old = built(schedule=warm_then(20))
    stepped(old[1], Position(0, 12, 30))
    old[0].param_groups[0]['lr'] *= 0.7
    checkpoint = saved(*old)
    before = copy.deepcopy(checkpoint)
    assert follow_config(*built(schedule=warm_then(20)), checkpoint, Position(0, 12, 30)) == []
    assert checkpoint == before


@pytest.mark.parametrize(
    ('change', 'word'),
    [
        (dict(lr=0.2), 'lr 0.2 instead of 0.1'),
        (dict(momentum=0.9), 'momentum 0.9 instead of 0'),
        (dict(schedule=()), '0 schedulers instead of 2'),
        (dict(schedule=warm_then(40)), 'CosineAnnealingLR T_max 35 instead of 15'),
    ],
)
def test_what_differs_is_named(change, word):
    old = built(schedule=warm_then(20))
    stepped(old[1], Position(0, 12, 30))
    named = follow_config(*built(**{'schedule': warm_then(20), **change}), saved(*old), Position(0, 12, 30))
    assert any(word in text for text in named)


def test_weight_decay_of_the_config_counts():
    old = built(schedule=warm_then(20))
    checkpoint = saved(*old)
    wrapper, schedulers = built(schedule=warm_then(20))
    wrapper.param_groups[1]['weight_decay'] = 0.0
    assert follow_config(wrapper, schedulers, checkpoint, Position(0, 0, 30)) == ['weight_decay 0 instead of 0.1']
    go_on(wrapper, schedulers, checkpoint)
    assert [group['weight_decay'] for group in wrapper.optimizer.param_groups] == [0.1, 0.0]


def test_a_schedule_by_results_keeps_its_progress():
    schedule = ((ReduceOnPlateauLR, dict(monitor='acc', patience=1, factor=0.5)),)
    wrapper, schedulers = built(schedule=schedule)
    for _ in range(4):
        schedulers[0].step({'acc': 1.0})
    checkpoint = saved(wrapper, schedulers)
    rate = wrapper.param_groups[0]['lr']
    later = built(schedule=((ReduceOnPlateauLR, dict(monitor='acc', patience=3, factor=0.5)),))
    assert rate < 0.1 and follow_config(*later, checkpoint, Position(4, 40, 10))
    go_on(*later, checkpoint)
    assert later[0].param_groups[0]['lr'] == rate and later[1][0].patience == 3


def test_an_unchanged_schedule_by_results_goes_on_as_it_is():
    schedule = ((ReduceOnPlateauLR, dict(monitor='acc', patience=1, factor=0.5)),)
    wrapper, schedulers = built(schedule=schedule)
    for _ in range(4):
        schedulers[0].step({'acc': 1.0})
    checkpoint = saved(wrapper, schedulers)
    assert follow_config(*built(schedule=schedule), checkpoint, Position(4, 40, 10)) == []


def test_a_rate_by_results_is_changed_in_proportion():
    schedule = ((ReduceOnPlateauLR, dict(monitor='acc', patience=1, factor=0.5)),)
    wrapper, schedulers = built(schedule=schedule)
    for _ in range(4):
        schedulers[0].step({'acc': 1.0})
    checkpoint = saved(wrapper, schedulers)
    assert wrapper.param_groups[0]['lr'] == pytest.approx(0.05)
    later = built(lr=0.4, schedule=schedule)
    assert follow_config(*later, checkpoint, Position(4, 40, 10)) == ['lr 0.4 instead of 0.1']
    go_on(*later, checkpoint)
    assert [group['lr'] for group in later[0].optimizer.param_groups] == pytest.approx([0.2, 0.2])
    assert later[1][0]._last_value == pytest.approx([0.2, 0.2])
    for _ in range(2):
        later[1][0].step({'acc': 2.0})
    assert later[0].param_groups[0]['lr'] == pytest.approx(0.1)


def test_a_schedule_by_results_takes_up_a_constant_rate():
    checkpoint = saved(*built())
    later = built(lr=0.4, schedule=((ReduceOnPlateauLR, dict(monitor='acc')),))
    assert 'lr 0.4 instead of 0.1' in follow_config(*later, checkpoint, Position(4, 40, 10))
    go_on(*later, checkpoint)
    assert later[0].param_groups[0]['lr'] == 0.4


def test_the_end_of_an_epoch_follows_its_last_iteration():
    assert list(Position(2, 4, 2).steps()) == [False, False, True, False, False, True]
    assert list(Position(1, 3, 2).steps()) == [False, False, True, False]
    # epochs had four iterations, and now have two
    assert list(Position(2, 8, 2).steps()) == [False] * 4 + [True] + [False] * 4 + [True]
    assert list(Position(0, 3, 2).steps()) == [False] * 3


@pytest.mark.parametrize(
    ('epoch', 'iteration', 'length', 'before', 'place'),
    [
        (2, 8, 4, 4, (2, 8)),
        (2, 11, 4, 4, (2, 11)),
        # batches of twice as many
        (2, 8, 2, 4, (2, 4)),
        (2, 10, 2, 4, (2, 5)),
        (0, 3, 2, 4, (0, 1)),
        # of half as many
        (2, 4, 4, 2, (2, 8)),
        (2, 5, 4, 2, (2, 10)),
        # a training by iterations counts no epochs
        (0, 6, 4, 4, (1, 6)),
        (0, 6, 2, 4, (1, 3)),
        (0, 6, 4, None, (1, 6)),
        # a checkpoint that does not say
        (2, 8, 4, None, (2, 8)),
        (2, 8, 2, None, (2, 4)),
        (2, 8, 2, 'four', (2, 4)),
        (3, 8, 4, 0, (3, 12)),
    ],
)
def test_a_training_by_epochs_goes_on_where_its_epochs_are(epoch, iteration, length, before, place):
    assert place_in_epochs(epoch, iteration, length, before) == place
