"""Set the schedules of a resumed training from the config, at the step where it continues."""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import torch

# what schedulers keep of their progress; all else in their state comes from the config
PROGRESS = ('last_step', '_global_step', '_last_value', 'verbose', 'best', 'num_bad_epochs', 'cooldown_counter')


@dataclass
class Position:
    """Where a training goes on.

    Attributes:
        epoch: Epochs that are complete.
        iter: Iterations that are done.
        epoch_length: Iterations of an epoch of the data as it is now.
    """

    epoch: int
    iter: int
    epoch_length: int

    def steps(self) -> Iterator[bool]:
        """Steps of the schedulers up to here: False for an iteration, True for the end of an epoch."""
        length = self.epoch_length
        if self.epoch and not self.epoch * length <= self.iter <= (self.epoch + 1) * length:
            # the data or its batches were others
            length = self.iter // self.epoch
        ended = 0
        for done in range(1, self.iter + 1):
            yield False
            if length and done % length == 0 and ended < self.epoch:
                ended += 1
                yield True
        yield from [True] * (self.epoch - ended)


def place_in_epochs(epoch: int, iteration: int, length: int, before: Any = None) -> tuple[int, int]:
    """The epoch and the iteration at which a training by epochs goes on: as many are left as its epochs have.

    Args:
        epoch: Epochs that are complete; 0 in a training by iterations.
        iteration: Iterations that were done.
        length: Iterations of an epoch as it is now.
        before: Iterations of an epoch as it was, if that is known; other batches or data make another number.
    """
    known = type(before) is int and before > 0
    if not known and epoch and not epoch * length <= iteration <= (epoch + 1) * length:
        return epoch, epoch * length
    before = before if known else length
    if not epoch and iteration > before:
        epoch = iteration // before
    within = iteration - epoch * before
    return epoch, epoch * length + (within * length // before if 0 < within <= before else 0)


def follow_config(wrapper: Any, schedulers: Any, checkpoint: dict[str, Any], position: Position) -> list[str]:
    """Where the config's optimizer or schedule differs from a checkpoint's, put the config's into the checkpoint.

    Args:
        wrapper: mmengine's wrapper of an optimizer, or of several by name, as built from the config.
        schedulers: The schedulers of its parameters, a list or lists by name, before their first iteration. They are
            stepped to ``position`` where the checkpoint's cannot be taken over.
        checkpoint: What is about to be loaded; its ``optimizer`` was checked, and is changed like its
            ``param_schedulers``.
        position: Where the training goes on.

    Returns:
        What differs, such as ``'milestones [8, 11] instead of [6]'``. Empty if the checkpoint is taken over as it is.
    """
    parts = getattr(wrapper, 'optim_wrappers', None)
    states = checkpoint.get('param_schedulers')
    if parts is None:
        changed, followed = _follow(wrapper, _built(schedulers), checkpoint['optimizer'], states, position)
    else:
        changed, followed = [], {}
        for name, part in parts.items():
            own = _built(schedulers.get(name) if isinstance(schedulers, dict) else schedulers)
            state = states.get(name) if isinstance(states, dict) else None
            more, followed[name] = _follow(part, own, checkpoint['optimizer'][name], state, position)
            changed += [f'{name}: {text}' for text in more]
        followed = followed if any(value is not None for value in followed.values()) else None
    if followed is not None:
        checkpoint['param_schedulers'] = followed
    return changed


def _built(schedulers: Any) -> list[Any]:
    return [scheduler for scheduler in schedulers or () if hasattr(scheduler, 'state_dict')]


def _follow(
    wrapper: Any, schedulers: list[Any], state: dict[str, Any], states: Any, position: Position
) -> tuple[list[str], list[dict[str, Any]] | None]:
    """What differs for one optimizer, and the states of its schedulers, if it has any."""
    states = [entry for entry in states if isinstance(entry, dict)] if isinstance(states, list) else []
    scheduled = {scheduler.param_name for scheduler in schedulers}
    optimizer = wrapper.optimizer
    before = [dict(group) for group in optimizer.param_groups]
    changed = _changed_options(before, state['param_groups'], scheduled) + _changed_schedule(schedulers, states)
    if not changed:
        return [], states if schedulers else None
    if any(getattr(scheduler, 'need_val_args', False) for scheduler in schedulers):
        # what follows the results of validations cannot be computed anew, and goes on from the checkpoint's values
        states = states + [scheduler.state_dict() for scheduler in schedulers[len(states) :]]
        merged = [
            {**_facts(scheduler.state_dict()), **{key: old[key] for key in PROGRESS if key in old}}
            for scheduler, old in zip(schedulers, states)
        ]
        kept = {name for key in scheduled for name in (key, f'initial_{key}')}
        # a group without parameters, whose rate is logged
        base, own_base = state.get('base_param_settings'), getattr(wrapper, 'base_param_settings', None)
        both = isinstance(base, dict) and own_base is not None
        groups = state['param_groups'] + ([base] if both else [])
        for key in scheduled:
            _rescale(key, groups, before + ([own_base] if both else []))
        _take_options(state['param_groups'], before, kept)
        for scheduler, facts in zip(schedulers, merged):
            if '_last_value' in facts:
                moved = groups[: len(scheduler.optimizer.param_groups)]
                facts['_last_value'] = [group[scheduler.param_name] for group in moved]
        return changed, merged
    with warnings.catch_warnings():
        # the schedulers think that the optimizer did nothing
        warnings.simplefilter('ignore')
        for by_epoch in position.steps():
            for scheduler in schedulers:
                if scheduler.by_epoch is by_epoch:
                    scheduler.step()
    _take_options(state['param_groups'], optimizer.param_groups, set())
    if getattr(wrapper, 'base_param_settings', None) is not None:
        # a group without parameters, whose rate is logged
        state['base_param_settings'] = dict(wrapper.base_param_settings)
    return changed, [scheduler.state_dict() for scheduler in schedulers]


def _rescale(key: str, groups: list[dict[str, Any]], own: list[Mapping[str, Any]]) -> None:
    """Scale a scheduled value in proportion if the config gives it another initial value."""
    start = f'initial_{key}'
    for group, mine in zip(groups, own):
        before, wanted = group.get(start), mine.get(start, mine.get(key))
        if start not in group and wanted is not None:
            # nothing has moved it
            group[key] = wanted
        elif before and wanted is not None and before != wanted:
            group[key], group[start] = group[key] * wanted / before, wanted


def _take_options(groups: list[dict[str, Any]], own: list[Mapping[str, Any]], kept: set[str]) -> None:
    for group, mine in zip(groups, own):
        for name in [name for name in group if name not in mine and name not in kept]:
            del group[name]
        group.update({name: value for name, value in mine.items() if name != 'params' and name not in kept})


def _changed_options(own: list[Mapping[str, Any]], groups: list[Mapping[str, Any]], scheduled: set[str]) -> list[str]:
    changed: dict[str, str] = {}
    for mine, group in zip(own, groups):
        moved = scheduled | {name.removeprefix('initial_') for name in group if name.startswith('initial_')}
        for name, value in mine.items():
            # a schedule moves the value itself, and its start is what the config says
            start = f'initial_{name}' if name in moved and f'initial_{name}' in group else name
            if name == 'params' or name.startswith(('initial_', 'max_', 'min_')) or isinstance(value, bool):
                continue
            wanted = mine.get(f'initial_{name}', value)
            if start in group and _plain(group[start]) != _plain(wanted):
                changed.setdefault(name, f'{name} {_text(wanted)} instead of {_text(group[start])}')
    return list(changed.values())


def _changed_schedule(schedulers: list[Any], states: list[dict[str, Any]]) -> list[str]:
    if len(schedulers) != len(states):
        return [f'{len(schedulers)} schedulers instead of {len(states)}']
    changed: list[str] = []
    for scheduler, state in zip(schedulers, states):
        own, other = _facts(scheduler.state_dict()), _facts(state)
        names = [name for name in own if name in other and _plain(own[name]) != _plain(other[name])]
        kind = type(scheduler).__name__
        if any(name not in other for name in own):
            changed.append(f'{kind} instead of another scheduler')
            continue
        # the start of each value is among the options of the optimizer
        changed += [f'{kind} {n} {_text(own[n])} instead of {_text(other[n])}' for n in names if n != 'base_values']
        if not names and not _progress_fits(scheduler.state_dict(), state):
            changed.append(f'{kind} counts in another way')
    return changed


def _progress_fits(own: Mapping[str, Any], state: Mapping[str, Any]) -> bool:
    """Whether the progress in a file is of the kinds that a scheduler keeps."""
    for name in PROGRESS:
        if name in own and isinstance(own[name], int):
            # the best result is the integer 10**9 before there is one
            if not isinstance(state.get(name), (int, float) if name == 'best' else int):
                return False
        elif name == '_last_value':
            values = state.get(name)
            if not isinstance(values, (list, tuple)) or not all(isinstance(value, (int, float)) for value in values):
                return False
    return True


def _facts(state: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in state.items() if name not in PROGRESS and not callable(value)}


def _plain(value: Any) -> Any:
    if isinstance(value, torch.Tensor):
        return value.tolist()
    if isinstance(value, Mapping):
        return sorted((str(key), _plain(inner)) for key, inner in value.items())
    return [_plain(inner) for inner in value] if isinstance(value, (list, tuple)) else value


def _text(value: Any) -> str:
    if isinstance(value, Mapping):
        value = sorted(value)
    return f'{value:g}' if isinstance(value, float) else str(value)[:60]
