"""Read published checkpoints, and recognise which named backbone they belong to."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from dataclasses import dataclass
from difflib import get_close_matches
from functools import cache
from types import ModuleType
from typing import Any

import torch
from torch import Tensor

from saga_mm.errors import SagaError
from saga_mm.loading.checkpoint import AVERAGED, load_checkpoint, state_of
from saga_mm.loading.weight_match import WRITERS, Match, match_weights, prefix_cure
from saga_mm.models.backbones import create_backbone, named
from saga_mm.models.backbones.named import VARIANTS
from saga_mm.models.names import first_broken

# by names of weights, the first that fits: PVTv2 has those of PVT as well
SIGNS = {
    'ravlt': r'layers\.\d+\.blocks\.\d+\.attn\.qkvo\.',
    'cswin': r'stage1_conv_embed\.',
    'swin': r'layers\.\d+\.blocks\.\d+\.attn\.qkv\.',
    'vit': r'blocks\.\d+\.attn\.qkv\.',
    'pvt_v2': r'block\d\.\d+\.mlp\.dwconv\.dwconv\.',
    'pvt': r'block\d\.\d+\.attn\.kv\.',
}
# linear attention in the first two stages alone, as published
HYBRID = ('Swin', 'CSwin', 'RAVLT')
FAMILIES: dict[str, list[str]] = {}
MODULES: dict[str, ModuleType] = {}
for module in named.FAMILIES:
    family = module.__name__.rpartition('.')[2]
    for variant in module.VARIANTS:
        MODULES[variant] = module
        if not variant.startswith('saga_'):
            FAMILIES.setdefault(variant.partition(family)[0] + family, []).append(variant)


@dataclass
class Published:
    """The backbone's part of a published file.

    Attributes:
        path: The file.
        taken: Under which of the file's keys the weights were.
        left: Other keys with weights of the same model.
        state: The weights, under their published names without prefixes.
        outside: Names of weights that belong to a neck or a head.
    """

    path: str
    taken: str
    left: list[str]
    state: dict[str, Tensor]
    outside: list[str]


def read_published(path: str | os.PathLike[str], ema: bool = False) -> Published:
    """Read a published file; nothing in it is executed.

    Args:
        path: The file. Weights may be under ``state_dict``, ``model``, ``model_ema`` (or other names for averaged
            weights) or bare, with the prefixes ``module.`` and ``backbone.``.
        ema: Take the averaged weights if there are two kinds; they are also taken if there are no others.

    Raises:
        SagaError: The file is missing, damaged, holds no weights, or would run code when read.
    """
    checkpoint = load_checkpoint(path)
    averaged = [key for key in AVERAGED if _has_weights(checkpoint.get(key))]
    if ema and not averaged:
        raise SagaError(f'--ema: checkpoint {path} holds no averaged weights ({", ".join(AVERAGED)})')
    weights = checkpoint['state_dict']
    plain = [key for key in ('model', 'state_dict') if checkpoint.get(key) is weights][:1]
    if plain == ['state_dict'] and any(checkpoint[key] is weights for key in averaged):
        # there were no others, so these were taken for the weights
        plain = []
    taken, *left = averaged + plain if ema else plain + averaged
    state = state_of({'state_dict': checkpoint[taken]})
    state = {key: value.detach() for key, value in state.items() if isinstance(value, Tensor)}
    if (broken := first_broken(state)) is not None:
        raise SagaError(f'checkpoint {path}: {broken} holds NaN or infinity, as a training that diverged leaves them')
    inside = {key.removeprefix('backbone.'): value for key, value in state.items() if key.startswith('backbone.')}
    outside = [key for key in state if not key.startswith('backbone.')] if inside else []
    return Published(str(path), taken, left, inside or state, outside)


def recognise(published: Published, family: str | None = None, name: str | None = None) -> str:
    """The named backbone that a published file is of.

    Args:
        published: The file.
        family: One of :data:`FAMILIES` to choose from, instead of recognising it by the names of weights.
        name: The backbone itself, instead of recognising it by the shapes of weights.

    Raises:
        SagaError: There is no such family or name, or the file is of none of the named backbones.
    """
    if family is not None and family not in FAMILIES:
        raise SagaError(f'--family {family}: choose one of {", ".join(FAMILIES)}')
    if name is not None:
        known = [variant for variants in FAMILIES.values() for variant in variants]
        if name not in known:
            near = get_close_matches(name, known) or known
            raise SagaError(f'--name {name}: no such published backbone; did you mean {", ".join(near)}?')
        if family is not None and name not in FAMILIES[family]:
            raise SagaError(f'--name {name}: is not of the family {family}')
        return name
    family = family or _family(published)
    ours = to_ours(published, FAMILIES[family][0])
    matches = {variant: match_weights(skeleton(variant), ours) for variant in FAMILIES[family]}
    best = max(matches, key=lambda variant: _score(matches[variant]))
    if _score(matches[best]) <= 0:
        raise SagaError(
            f'checkpoint {published.path}: looks like a {family}, but has the shapes of none of '
            f'{", ".join(FAMILIES[family])}; closest is {best}: {matches[best]}'
        )
    return best


def to_ours(published: Published, name: str) -> dict[str, Tensor]:
    """The weights of a published file under the names that the backbone ``name`` uses."""
    try:
        return MODULES[name].published_state(published.state)
    except (KeyError, IndexError, RuntimeError, TypeError, ValueError) as error:
        raise SagaError(f'checkpoint {published.path}: its weights are not laid out as those of {name}') from error


def unused(published: Published, name: str) -> list[str]:
    """Published names that have no counterpart in the backbone ``name``."""
    rename = MODULES[name].published_state
    # alone, the second half of a pair that the backbone joins has nothing to join
    return [key for key, value in published.state.items() if not rename({key.replace('attns.1.', 'attns.0.'): value})]


@cache
def skeleton(name: str, attention: str | None = None) -> torch.nn.Module:
    """A named backbone without memory for its weights, to compare names and shapes with.

    Args:
        name: The backbone.
        attention: Replaces its own: in all stages, or in the first two of backbones whose published linear
            models keep softmax behind them.

    Raises:
        SagaError: There is no such attention, or it does not fit.
    """
    change: dict[str, Any] = {}
    if attention is not None:
        hybrid = VARIANTS[name]['type'] in HYBRID
        change['attention'] = [attention, attention, 'softmax', 'softmax'] if hybrid else attention
    try:
        with torch.device('meta'):
            return create_backbone(name, **change)
    except ValueError as error:
        raise SagaError(f'--attention {attention}: {error}') from error


def _has_weights(state: Any) -> bool:
    if not isinstance(state, Mapping) or not all(isinstance(name, str) for name in state):
        return False
    return any(isinstance(value, Tensor) for value in state.values())


def _family(published: Published) -> str:
    family = next((name for name, sign in SIGNS.items() if any(re.match(sign, key) for key in published.state)), None)
    if family is None:
        keys = list(published.state)
        own = '; these are names of saga_mm itself, which need no conversion' if keys[0].startswith('stages.') else ''
        signs = '|'.join(SIGNS.values())
        heads = (head for head in WRITERS if any(re.match(rf'{head}\.(backbone\.)?({signs})', key) for key in keys))
        head = next(heads, '')
        own = own or (head and f'. {prefix_cure(head)}')
        raise SagaError(
            f'checkpoint {published.path}: is of no known family ({", ".join(SIGNS)}); it holds '
            f'{", ".join(keys[:3])}, ...{own}'
        )
    focused = any(re.search(r'\.(attn|attns\.\d)\.(scale|positional_encoding)$', key) for key in published.state)
    return f'flatten_{family}' if focused and f'flatten_{family}' in FAMILIES else family


def _score(match: Match) -> int:
    return len(match.matched) - len(match.missing) - len(match.unexpected) - len(match.reshaped)
