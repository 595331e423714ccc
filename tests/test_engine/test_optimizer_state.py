import copy
from types import SimpleNamespace

import pytest
import torch
from mmengine.optim import scheduler
from torch import nn
from torch.optim import SGD, Adafactor, Adam, AdamW, Optimizer

from saga_mm.engine.optimizer_state import check_optimizer_state, check_scheduler_states, parameter_names
from saga_mm.errors import SagaError
from saga_mm.loading.checkpoint import load_checkpoint

OPTIMIZERS = {
    'sgd': lambda groups: SGD(groups, lr=0.1, momentum=0.9),
    'plain sgd': lambda groups: SGD(groups, lr=0.1),
    'adam': lambda groups: Adam(groups, lr=0.1, amsgrad=True),
    'adamw': lambda groups: AdamW(groups, lr=0.1),
    'fused': lambda groups: AdamW(groups, lr=0.1, fused=True),
    'factored': lambda groups: Adafactor(groups, lr=0.1),
}


def model() -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(nn.Conv2d(3, 4, 3), nn.Flatten(), nn.Linear(16, 5), nn.Linear(5, 1))


def groups(net: nn.Module) -> list[dict]:
    """A group for weights and one for biases."""
    parameters = dict(net.named_parameters())
    return [
        {'params': [p for name, p in parameters.items() if name.endswith(kind)], 'weight_decay': decay}
        for kind, decay in (('weight', 0.1), ('bias', 0.0))
    ]


def step(net: nn.Module, optimizer: Optimizer, count: int = 2) -> None:
    for number in range(count):
        optimizer.zero_grad()
        net(torch.full((2, 3, 4, 4), 0.1 * (number + 1))).square().sum().backward()
        optimizer.step()


def wrapped(optimizer: Optimizer) -> SimpleNamespace:
    return SimpleNamespace(optimizer=optimizer)


@pytest.fixture
def trained() -> tuple[nn.Module, Optimizer]:
    net = model()
    optimizer = OPTIMIZERS['fused'](groups(net))
    step(net, optimizer)
    return net, optimizer


@pytest.mark.parametrize('kind', OPTIMIZERS)
@pytest.mark.parametrize('channels_last', [False, True])
def test_a_state_of_the_same_parameters_goes_on_bit_for_bit(kind, channels_last):
    nets = [model(), model()]
    if channels_last:
        nets = [net.to(memory_format=torch.channels_last) for net in nets]
    first, second = (OPTIMIZERS[kind](groups(net)) for net in nets)
    step(nets[0], first)
    state = copy.deepcopy(first.state_dict())
    nets[1].load_state_dict(nets[0].state_dict())
    check_optimizer_state(wrapped(second), state, nets[1], parameter_names(wrapped(first), nets[0]))
    second.load_state_dict(state)
    step(nets[0], first)
    step(nets[1], second)
    for one, other in zip(nets[0].parameters(), nets[1].parameters(), strict=True):
        assert torch.equal(one, other)


def test_parameters_that_had_no_gradient_have_no_state():
    net = model()
    net[0].requires_grad_(False)
    optimizer = OPTIMIZERS['adamw'](groups(net))
    step(net, optimizer)
    assert len(optimizer.state) == 4
    check_optimizer_state(wrapped(optimizer), optimizer.state_dict(), net)


def test_options_that_an_earlier_torch_did_not_have_are_the_current_ones(trained):
    net, optimizer = trained
    state = optimizer.state_dict()
    for group in state['param_groups']:
        del group['fused'], group['lr']
    check_optimizer_state(wrapped(optimizer), state, net)
    assert state['param_groups'][1]['lr'] == 0.1 and state['param_groups'][1]['fused'] is True


def shrink(state: dict) -> None:
    state['state'][0]['exp_avg'] = torch.zeros(1, 1, 1, 1)


def expand_other_shape(state: dict) -> None:
    state['state'][3]['exp_avg_sq'] = torch.zeros(()).expand(5, 4)


def long_step(state: dict) -> None:
    state['state'][0]['step'] = torch.zeros(7)


def lack(state: dict) -> None:
    del state['state'][1]['exp_avg_sq']


def exchange(state: dict) -> None:
    state['param_groups'][0]['params'].reverse()


def drop_group(state: dict) -> None:
    del state['param_groups'][1]


def drop_parameter(state: dict) -> None:
    state['param_groups'][1]['params'].pop()


def twice(state: dict) -> None:
    state['param_groups'][1]['params'][0] = 0


def words(state: dict) -> None:
    state['param_groups'][0]['lr'] = 'fast'


def pairs(state: dict) -> None:
    state['param_groups'][0]['betas'] = 0.9


def more(state: dict) -> None:
    state['state'][99] = {'exp_avg': torch.zeros(2)}


def sparse(state: dict) -> None:
    state['state'][0]['exp_avg'] = state['state'][0]['exp_avg'].to_sparse()


def no_state(state: dict) -> None:
    state['state'] = []


def texts(state: dict) -> None:
    state['state'][0] = 'x'


HARMS = [shrink, expand_other_shape, long_step, lack, exchange, drop_group, drop_parameter, twice, words, pairs, more]
HARMS += [sparse, no_state, texts]


@pytest.mark.parametrize('harm', HARMS, ids=lambda harm: harm.__name__)
def test_other_states_are_refused_in_one_line(trained, harm):
    net, optimizer = trained
    state = copy.deepcopy(optimizer.state_dict())
    harm(state)
    with pytest.raises(SagaError, match='--resume: the state of the optimizer') as caught:
        check_optimizer_state(wrapped(optimizer), state, net)
    assert '\n' not in str(caught.value) and len(str(caught.value)) < 500


def test_an_order_that_only_names_tell(trained):
    net, optimizer = trained
    names = parameter_names(wrapped(optimizer), net)
    assert names[:3] == ['0.weight', '2.weight', '3.weight']
    with pytest.raises(SagaError, match=r'in another order \(2\.weight where the model has 0\.weight\)'):
        check_optimizer_state(wrapped(optimizer), optimizer.state_dict(), net, [names[1], names[0], *names[2:]])
    with pytest.raises(SagaError, match='another number'):
        check_optimizer_state(wrapped(optimizer), optimizer.state_dict(), net, names[:-1])


def test_expanded_and_strided_states_get_memory_of_their_own(trained):
    net, optimizer = trained
    state = copy.deepcopy(optimizer.state_dict())
    state['state'][0]['exp_avg'] = torch.tensor(0.5).expand(4, 3, 3, 3)
    state['state'][1]['exp_avg'] = torch.arange(80.0).reshape(16, 5).t()
    check_optimizer_state(wrapped(optimizer), state, net)
    held = state['state'][0]['exp_avg']
    assert held.stride() == net[0].weight.stride() and held.untyped_storage().nbytes() >= 4 * 108
    assert torch.equal(state['state'][1]['exp_avg'], torch.arange(80.0).reshape(16, 5).t())
    optimizer.load_state_dict(state)
    step(net, optimizer)


def test_several_optimizers_by_name(trained):
    net, optimizer = trained
    several = SimpleNamespace(optim_wrappers={'a': wrapped(optimizer)})
    check_optimizer_state(several, {'a': optimizer.state_dict()}, net)
    with pytest.raises(SagaError, match='nothing for the optimizer a'):
        check_optimizer_state(several, {'b': optimizer.state_dict()}, net)
    with pytest.raises(SagaError, match='it is a list'):
        check_optimizer_state(several, [], net)


SCHEDULERS = {
    'OneCycleLR': {'eta_max': 0.1, 'total_steps': 10},
    'CosineAnnealingLR': {'T_max': 5},
    'MultiStepLR': {'milestones': [3, 4, 4]},
    'ReduceOnPlateauLR': {'monitor': 'acc'},
    'LinearLR': {},
    'MultiStepMomentum': {'milestones': [3]},
}


@pytest.mark.parametrize('kind', SCHEDULERS)
def test_states_of_schedulers(kind, tmp_path, trained):
    optimizer = SGD(trained[0].parameters(), lr=0.1, momentum=0.9)
    first, second = (getattr(scheduler, kind)(optimizer, **SCHEDULERS[kind]) for _ in range(2))
    for _ in range(3):
        optimizer.step()
        first.step({'acc': 1.0}) if kind == 'ReduceOnPlateauLR' else first.step()
    torch.save({'param_schedulers': [first.state_dict()], 'w': torch.ones(1)}, tmp_path / 'a.pth')
    states = load_checkpoint(tmp_path / 'a.pth')['state_dict']['param_schedulers']
    states[0]['other'] = 'dropped'
    check_scheduler_states([second], states)
    assert states[0] == first.state_dict()
    second.load_state_dict(states[0])
    for name, value in (
        ('last_step', {}),
        ('begin', None),
        ('param_name', []),
        ('end', torch.zeros(2)),
        ('_global_step', '3'),
    ):
        with pytest.raises(SagaError, match=f'--resume: the state of scheduler 0 in the checkpoint has {name}='):
            check_scheduler_states({'a': [second]}, {'a': [{**first.state_dict(), name: value}]})
