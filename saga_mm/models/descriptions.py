"""What models are built of, in plain values, as files name it: checked before anything of it is built."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import torch
from torch import nn
from torch.nn.modules.module import (
    register_module_module_registration_hook,
    register_module_parameter_registration_hook,
)
from torch.overrides import TorchFunctionMode

from saga_mm.errors import SagaError
from saga_mm.registry import MODELS
from saga_mm.version import __version__

# keys whose values are names in the registry
NAMES = ('type', 'attention')
# the largest number in a model's config; parameters and modules for each stored tensor; bytes of tables not stored
LARGEST, MOST_REGISTERED, MOST_TABLES = 65_536, 20, 2**26


class OtherModel(Exception):
    """A model of which a file cannot be, raised while it is built."""


class _WithoutRandomNumbers(TorchFunctionMode):
    """Leaves weights as they are where they are to be drawn, which torch without memory imports its compiler for."""

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if getattr(func, '__name__', '') in ('normal_', 'uniform_', 'trunc_normal_'):
            return args[0] if args else kwargs['tensor']
        return func(*args, **(kwargs or {}))


def shapes_of(build: Callable[[], nn.Module], count: int) -> dict[str, torch.Size]:
    """Shapes of the tensors of a model by name, found without memory for them.

    Raises:
        OtherModel: It has far more layers than ``count`` tensors are of, or tables that no enhancer needs.
    """
    registered = 0

    def count_one(*_: Any) -> None:
        nonlocal registered
        registered += 1
        # some are registered anew by a subclass
        if registered > MOST_REGISTERED * (count + 1):
            raise OtherModel

    hooks = [
        register_module_parameter_registration_hook(count_one),
        register_module_module_registration_hook(count_one),
    ]
    try:
        with torch.device('meta'), _WithoutRandomNumbers():
            model = build()
    finally:
        for hook in hooks:
            hook.remove()
    state = model.state_dict()
    if sum(table.nbytes for name, table in model.named_buffers() if name not in state) > MOST_TABLES:
        raise OtherModel
    return {name: value.shape for name, value in state.items()}


def plain_config(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {key: plain_config(inner) for key, inner in value.items() if key != 'init_cfg'}
    return [plain_config(inner) for inner in value] if isinstance(value, (list, tuple)) else value


def require_known(path: Path, value: Any, key: str = '') -> None:
    """Only parts of saga_mm: a registry would import and call whatever a name with dots leads to."""
    if isinstance(value, Mapping):
        for inner, part in value.items():
            require_known(path, part, inner)
    elif isinstance(value, list):
        for part in value:
            require_known(path, part, key)
    elif isinstance(value, (int, float)) and not abs(value) <= LARGEST:
        raise SagaError(f'{path}: {key}={value!r} is no part of saga_mm {__version__}, and no others are run')
    elif isinstance(value, str):
        known = value.removeprefix('saga_mm.') in MODELS.module_dict if key in NAMES else re.fullmatch(r'[\w-]*', value)
        if not known:
            raise SagaError(f'{path}: {key}={value!r} is no part of saga_mm {__version__}, and no others are run')
