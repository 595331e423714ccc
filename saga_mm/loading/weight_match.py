"""Compare a checkpoint's weights with a model's, by name and shape."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn

from saga_mm.errors import SagaError
from saga_mm.models.names import first_broken

NAMED = 3
BROKEN = 'holds NaN or infinity, as a training that diverged leaves them; take an earlier checkpoint'
AVERAGING = 'a trainer that averages weights (EMA)'
WRITERS = {'model': 'Lightning', 'ema_model': AVERAGING, 'ema': AVERAGING}


@dataclass
class Match:
    """How the names and shapes of some weights compare to a model's.

    Attributes:
        matched: Names whose weights the model takes over.
        missing: Names of the model that the weights lack.
        unexpected: Names that the model does not have.
        reshaped: Names that both have, in different shapes, as ``name (8, 4), not (8, 2)``: the file's shape first; and
            those that are no dense tensors in the file.
    """

    matched: list[str] = field(default_factory=list)
    missing: list[str] = field(default_factory=list)
    unexpected: list[str] = field(default_factory=list)
    reshaped: list[str] = field(default_factory=list)

    @property
    def complete(self) -> bool:
        return not (self.missing or self.unexpected or self.reshaped)

    def __str__(self) -> str:
        lacking = ((self.missing, 'missing'), (self.unexpected, 'unexpected'), (self.reshaped, 'of another shape'))
        parts = [f'{len(names)} {word} ({_first(names)})' for names, word in lacking if names]
        return f'{len(self.matched)} weights fit' + ''.join(f', {part}' for part in parts)


def match_weights(module: nn.Module, state: Mapping[str, Any]) -> Match:
    """Compare a module's parameters and buffers with the weights of a checkpoint."""
    own = module.state_dict()
    match = Match(missing=[name for name in own if name not in state])
    for name, value in state.items():
        if name not in own:
            match.unexpected.append(name)
        elif isinstance(own[name], Tensor) and not _is_dense(value, own[name]):
            match.reshaped.append(f'{name} is {_kind(value)}')
        elif isinstance(own[name], Tensor) and value.shape != own[name].shape:
            match.reshaped.append(f'{name} {tuple(value.shape)}, not {tuple(own[name].shape)}')
        else:
            match.matched.append(name)
    return match


def check_match(
    module: nn.Module,
    state: Mapping[str, Any],
    source: str | os.PathLike[str],
    partly: bool = False,
    takes_prefix: bool = False,
) -> Match:
    """Refuse a checkpoint of another model.

    Args:
        module: What the weights are for.
        state: The weights by name.
        source: The checkpoint, for the message.
        partly: Whether it is enough that some weights fit, as for a pretrained backbone or fine-tuning.
        takes_prefix: Whether the user can name a prefix beside the checkpoint, for the message.

    Returns:
        The comparison; with ``partly`` the caller tells the user what did not fit.

    Raises:
        SagaError: Weights do not fit; with ``partly``, none of them does; or those that fit hold NaN or infinity.
    """
    match = match_weights(module, state)
    if match.complete or (partly and match.matched):
        broken = first_broken({name: state[name] for name in match.matched})
        if broken is not None:
            raise SagaError(f'checkpoint {source}: {broken} {BROKEN}')
        return match
    name = type(module).__name__
    if match.matched:
        of_classes = _differs_in_outputs(module, state, match)
        other = 'was probably trained for another number of classes' if of_classes else 'is of another model'
        raise SagaError(
            f'checkpoint {source}: {other} than this {name}: {match}. Use the config that it was trained '
            'with, or set load_from=FILE in the config to start a training from what fits'
        )
    own = {key: value for key, value in module.state_dict().items() if isinstance(value, Tensor)}
    for key in own:
        theirs = state.get(key)
        if isinstance(theirs, Tensor) and theirs.shape != own[key].shape:
            raise SagaError(
                f'checkpoint {source}: none of its {len(state)} weights fits this {name}; {key} has the shape '
                f'{tuple(theirs.shape)} in it, and {tuple(own[key].shape)} in the model. Use the config that it was '
                'trained with'
            )
    raise SagaError(
        f'checkpoint {source}: none of its {len(state)} weights fits this {name}; it holds {_first(state)} and the '
        f'model has {_first(module.state_dict())}{_prefix_hint(module, state, takes_prefix)}'
    )


def _differs_in_outputs(module: nn.Module, state: Mapping[str, Any], match: Match) -> bool:
    """Whether the names are the same, and the shapes but for the number of outputs of some layers."""
    if match.missing or match.unexpected or any(not isinstance(value, Tensor) for value in state.values()):
        return False
    own = module.state_dict()
    resized = [name for name, value in own.items() if value.shape != state[name].shape]
    # not norms, which have the width of the layer before them
    layers = {name.rpartition('.')[0] for name in resized if own[name].ndim > 1}
    return all(name.rpartition('.')[0] in layers and own[name].shape[1:] == state[name].shape[1:] for name in resized)


def _is_dense(value: Any, own: Tensor) -> bool:
    """Whether a value is a tensor whose numbers can be copied into a weight."""
    if not isinstance(value, Tensor) or value.layout != torch.strided or value.is_quantized:
        return False
    # whole numbers are no weights, as those of a model that was quantised by hand
    return value.is_complex() == own.is_complex() and (value.is_floating_point() or not own.is_floating_point())


def _kind(value: Any) -> str:
    return 'a tensor without plain numbers' if isinstance(value, Tensor) else f'a {type(value).__name__}'


def _first(names: Iterable[str]) -> str:
    names = list(names)
    more = f', and {len(names) - NAMED} more' if len(names) > NAMED else ''
    return ', '.join(names[:NAMED]) + more


def _prefix_hint(module: nn.Module, state: Mapping[str, Any], takes_prefix: bool) -> str:
    """Name the prefix of names that would fit without it, who writes it, and the cure."""
    own = set(module.state_dict())
    fits: dict[str, int] = {}
    for name in state:
        head, _, rest = name.partition('.')
        fits[head] = fits.get(head, 0) + (rest in own)
    head = max(fits, key=fits.__getitem__, default='')
    if not fits.get(head):
        return ''
    if takes_prefix:
        return f". Set prefix='{head}.' beside the checkpoint to take that part of it"
    return f'. {prefix_cure(head)}'


def prefix_cure(head: str) -> str:
    """Who writes a prefix of all names, and how to save the weights without it."""
    writer = f', as {WRITERS[head]} saves them' if head in WRITERS else ''
    return (
        f"The names fit without the prefix '{head}.'{writer}. Save those weights alone and without it, as "
        f"torch.save({{k[{len(head) + 1}:]: v for k, v in weights.items() if k.startswith('{head}.')}}, FILE)"
    )
