"""Check that the optimizer state of a checkpoint fits a model's parameters, before it is loaded.

Fused optimizers do not compare shapes: a state that is smaller than its parameter makes them write past its end.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from saga_mm.errors import SagaError
from saga_mm.models.names import without_wrappers


def parameter_names(wrapper: Any, model: nn.Module) -> list[str] | None:
    """Names of the parameters of an optimizer, in its order; None for several optimizers."""
    if not isinstance(getattr(wrapper, 'optimizer', None), Optimizer):
        return None
    plain = without_wrappers(dict(model.named_parameters()))
    names = {parameter: name for name, parameter in plain.items()}
    return [names.get(parameter, '') for group in wrapper.optimizer.param_groups for parameter in group['params']]


def check_optimizer_state(wrapper: Any, state: Any, model: nn.Module, names: Any = None) -> None:
    """Refuse the state of other parameters, and bring tensors of it into the memory layout of their parameters.

    Args:
        wrapper: mmengine's wrapper of an optimizer, or of several by name.
        state: What the checkpoint holds; tensors in it may be replaced.
        model: The model, for names.
        names: Names of the parameters that the state is of, in their order, if the checkpoint knows them.

    Raises:
        SagaError: Groups, parameters, their names or shapes are others.
    """
    if not isinstance(state, dict):
        raise _refused(f'it is a {type(state).__name__}')
    optimizer = getattr(wrapper, 'optimizer', None)
    if isinstance(optimizer, Optimizer):
        own = parameter_names(wrapper, model)
        _check(optimizer, state, own)
        if isinstance(names, list) and names != own:
            other = next((f'{a} where the model has {b}' for a, b in zip(names, own) if a != b), 'another number')
            raise _refused(f'its parameters are others, or in another order ({other})')
        return
    for name, part in getattr(wrapper, 'optim_wrappers', {}).items():
        if name not in state:
            raise _refused(f'it has nothing for the optimizer {name}')
        check_optimizer_state(part, state[name], model)


def check_scheduler_states(schedulers: Any, states: Any) -> None:
    """Refuse states of schedulers whose facts are of another kind, and drop those that a scheduler does not have.

    Args:
        schedulers: mmengine's schedulers of parameters, a list or lists by name.
        states: What the checkpoint holds of them, which is changed.

    Raises:
        SagaError: A fact is of another kind than the scheduler's own.
    """
    if isinstance(schedulers, dict):
        for name, part in schedulers.items():
            check_scheduler_states(part, states.get(name) if isinstance(states, dict) else None)
        return
    for number, (scheduler, state) in enumerate(zip(schedulers or (), states if isinstance(states, list) else ())):
        # a part of a config is none yet
        own = scheduler.state_dict() if hasattr(scheduler, 'state_dict') else dict(state)
        for name in [name for name in state if name not in own]:
            del state[name]
        for name, value in state.items():
            fits = value == own[name] if isinstance(own[name], str) else _alike(value, own[name])
            if not fits:
                raise SagaError(
                    f'--resume: the state of scheduler {number} in the checkpoint has {name}={str(value)[:40]}, and '
                    f'the config {str(own[name])[:40]}. Use the config that it was trained with, or start anew from '
                    'its weights with --cfg-options load_from=FILE'
                )


def _alike(value: Any, own: Any) -> bool:
    """Whether a fact is of the kind of a scheduler's own, which may be None before its first step."""
    if isinstance(own, (int, float)):
        return isinstance(value, (int, float))
    if isinstance(own, (list, tuple)):
        return isinstance(value, (list, tuple)) and all(_alike(part, own[0]) for part in value if own)
    if own is None:
        return value is None or isinstance(value, (int, float))
    return callable(value) if callable(own) else isinstance(value, type(own))


def _check(optimizer: Optimizer, state: dict[str, Any], names: Sequence[str]) -> None:
    groups, kept = state.get('param_groups'), state.get('state')
    if not isinstance(groups, list) or not all(isinstance(group, dict) for group in groups):
        raise _refused('it has no groups of parameters')
    if not isinstance(kept, dict) or not all(isinstance(entry, dict) for entry in kept.values()):
        raise _refused('it has nothing for each parameter')
    if len(groups) != len(optimizer.param_groups):
        raise _refused(f'it has {len(groups)} groups of parameters, the optimizer {len(optimizer.param_groups)}')
    place = 0
    for number, (group, own) in enumerate(zip(groups, optimizer.param_groups)):
        _check_options(number, group, own)
        count = len(own['params'])
        if group.get('params') != list(range(place, place + count)):
            raise _refused(f'its group {number} is of other parameters than the {count} of the optimizer')
        for parameter in own['params']:
            entry = kept.get(place)
            wanted = _kept_for(optimizer, number, group, parameter)
            if entry is not None:
                _check_entry(wanted, parameter, entry, names[place])
            elif wanted and not kept:
                raise _refused(f'it lacks {", ".join(wanted)} of all parameters')
            place += 1
    if any(index not in range(place) for index in kept):
        raise _refused('it holds something for parameters of no group')


def _check_options(number: int, group: dict[str, Any], own: Mapping[str, Any]) -> None:
    """Refuse a group with an option of another kind than the optimizer's.

    Options that the group lacks, and switches, are set as the optimizer has them: they choose kernels and what is kept.
    """
    for name, value in own.items():
        if name != 'params' and _kind(group.setdefault(name, value)) != _kind(value):
            raise _refused(f'its group {number} has {name}={str(group[name])[:40]}, and the optimizer {value!r}')
        if _kind(value) is bool:
            group[name] = value


def _kind(value: Any) -> Any:
    if value is None or isinstance(value, bool):
        return bool
    if isinstance(value, (int, float)) or (isinstance(value, Tensor) and value.numel() == 1):
        return float
    return [_kind(inner) for inner in value] if isinstance(value, (list, tuple)) else type(value)


def _check_entry(
    wanted: Mapping[str, torch.Size] | None, parameter: nn.Parameter, entry: dict[str, Any], name: str
) -> None:
    if wanted is not None:
        lacking = [key for key in wanted if entry.get(key) is None]
        more = [str(key) for key, value in entry.items() if value is not None and key not in wanted]
        if lacking or more:
            raise _refused(f'for {name} it {"lacks" if lacking else "also has"} {", ".join(lacking or more)}')
    for key, value in entry.items():
        shape = (wanted or {}).get(key)
        if isinstance(value, (int, float)) and shape in (None, ()):
            continue
        if value is not None and not isinstance(value, Tensor):
            raise _refused(f'for {name}, {key} is a {type(value).__name__}')
        if value is None:
            continue
        if shape is not None and value.shape != shape:
            raise _refused(f'for {name}, {key} has the shape {tuple(value.shape)}, not {tuple(shape)}')
        if value.layout != torch.strided or value.is_quantized or value.is_complex() != parameter.is_complex():
            raise _refused(f'for {name}, {key} holds no plain numbers')
        if value.shape == parameter.shape and value.stride() != parameter.stride():
            # kernels go through both as they lie in memory
            entry[key] = torch.empty_like(parameter, dtype=value.dtype, device=value.device).copy_(value)


def _kept_for(
    optimizer: Optimizer, number: int, group: Mapping[str, Any], parameter: nn.Parameter
) -> dict[str, torch.Size] | None:
    """Names and shapes of the tensors that an optimizer keeps for a parameter, by a step of one like it.

    None for optimizers that are not torch's, where they cannot be built anew.

    Args:
        optimizer: The optimizer.
        number: Of the group, for the message.
        group: The options in the checkpoint, which the optimizer will take.
        parameter: The parameter.
    """
    # what is kept depends on options (momentum, amsgrad) in ways of each optimizer's own: ask it
    like = nn.Parameter(torch.zeros(parameter.shape, dtype=parameter.dtype))
    like.grad = torch.zeros_like(like)
    options = {name: value for name, value in group.items() if name != 'params'}
    try:
        trial = type(optimizer)([{**options, 'params': [like]}])
        trial.step()
    except Exception as error:  # optimizers of other libraries may raise anything
        if type(optimizer).__module__.startswith('torch.optim'):
            raise _refused(f'its group {number} has settings that are none ({error})') from error
        return None
    return {key: value.shape for key, value in trial.state[like].items() if isinstance(value, Tensor)}


def _refused(reason: str) -> SagaError:
    return SagaError(
        f'--resume: the state of the optimizer in the checkpoint is not of this model and its settings: {reason}. Use '
        'the config and the version that it was trained with, or start anew from its weights with --cfg-options '
        'load_from=FILE'
    )
