"""Names of weights: strip the prefixes of wrappers, and find values that are NaN or infinite."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any, TypeVar

import torch

Value = TypeVar('Value')

# torch.compile's, and that of data parallel training and averaged models
WRAPPERS = ('_orig_mod.', 'module.')
# what torch.compile, FSDP and activation checkpointing put where they wrapped a part of a model; no layer is called so
INSIDE = ('_orig_mod', '_fsdp_wrapped_module', '_checkpoint_wrapped_module')
# what averaged models count beside their weights
COUNTS = ('steps', 'n_averaged')


def without_wrappers(state: Mapping[str, Value]) -> dict[str, Value]:
    """Weights by name, without the prefixes of wrappers, in any order and number, where all names have them.

    The names of wrappers of parts come off wherever they stand, as in ``backbone._orig_mod.norm.weight``.
    """
    plain = {'.'.join(part for part in name.split('.') if part not in INSIDE): value for name, value in state.items()}
    # two names would be one: they are something else
    state = plain if len(plain) == len(state) else state
    names = [name for name in state if name not in COUNTS]
    prefix = ''
    # in any order: a compiled model inside of a parallel one, or the reverse
    while found := next((w for w in WRAPPERS if names and all(n.startswith(prefix + w) for n in names)), None):
        prefix += found
    return {name if name in COUNTS else name[len(prefix) :]: value for name, value in state.items()}


def strip_in_place(state: dict[str, Any]) -> None:
    """:func:`without_wrappers` for a dict that others hold as well."""
    plain = without_wrappers(state)
    state.clear()
    state.update(plain)


def first_broken(state: Mapping[str, Any]) -> str | None:
    """The name of the first weight that holds NaN or infinity, as a diverged training leaves them; else None."""
    for name, value in state.items():
        if isinstance(value, torch.Tensor) and value.is_floating_point() and not torch.isfinite(_once(value)).all():
            return name
    return None


def _once(value: torch.Tensor) -> torch.Tensor:
    """The numbers of a tensor, of which a view may repeat some: as many as a file of a few bytes says."""
    numbers = value.untyped_storage().nbytes() // value.element_size()
    return value if math.prod(value.shape) <= numbers else value.as_strided((numbers,), (1,), 0)


def as_stored_in(own: Mapping[str, torch.Tensor], state: Mapping[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """Weights in the types of a model's own.

    Args:
        own: The model's weights by name.
        state: Others of the same names.

    Raises:
        TypeError: Whole or complex numbers, or truth values, stand where a weight is; the message begins with its name.
    """
    for name, value in own.items():
        given = state[name]
        if value.is_floating_point() != given.is_floating_point() or given.is_complex():
            kinds = [str(tensor.dtype).removeprefix('torch.') for tensor in (given, value)]
            raise TypeError(f'{name} holds {kinds[0]}, which is no {kinds[1]}')
    return {name: value.to(own[name].dtype) for name, value in state.items()}
