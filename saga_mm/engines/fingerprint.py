"""Cache keys of compiled steps: weights, options, code and versions."""

from __future__ import annotations

import hashlib
import inspect
import types
from collections.abc import Iterator, Sequence
from functools import cache
from pathlib import Path
from typing import Any

import torch
from torch import nn

from saga_mm.version import __version__

# packages whose version identifies their code
KNOWN = ('torch', 'saga_mm', 'mmcv', 'mmengine', 'mmdet', 'mmseg', 'builtins')
SCALARS = (str, int, float, bool, bytes, type(None), torch.device, torch.dtype, torch.Size)
# of a module: what torch keeps itself, and what says how weights were made
BOOKKEEPING = {
    '_parameters',
    '_buffers',
    '_modules',
    'training',
    'init_cfg',
    '_is_init',
    'engine',
    '_non_persistent_buffers_set',
}


class UnknownPartError(Exception):
    """A step holds an object that has no comparable content; the text names it."""


def in_place_version(modules: Sequence[nn.Module]) -> tuple:
    """A value that changes when weights are changed, modules are replaced, or hooks are added or removed."""
    parts = [part for module in modules for part in module.modules()]
    tensors = [tensor for part in parts for tensor in (*part._parameters.values(), *part._buffers.values())]
    return (
        *((id(part), len(part._forward_hooks) + len(part._forward_pre_hooks)) for part in parts),
        *((id(t), t.data_ptr(), 0 if t.is_inference() else t._version) for t in tensors if t is not None),
    )


def step_key(modules: Sequence[nn.Module], *facts: Any) -> str:
    """A key under which a compiled step can be kept on disk.

    Args:
        modules: The modules that the step computes with: their weights, options and code are part of the key.
        facts: What else it depends on, as text and numbers.

    Raises:
        UnknownPartError: A module has an attribute that is no number, text, tensor, function or module.
    """
    digest = hashlib.sha256(repr((__version__, _package_code(), torch.__version__, facts)).encode())
    for root in modules:
        for name, module in root.named_modules():
            digest.update(repr((name, *_kind(type(module)), *_options(module))).encode())
            for key, tensor in (*module._parameters.items(), *module._buffers.items()):
                if tensor is not None:
                    digest.update(repr((key, tuple(tensor.shape), tensor.dtype)).encode())
                    digest.update(tensor.detach().reshape(-1).contiguous().view(torch.uint8).numpy())
    return digest.hexdigest()


def _options(module: nn.Module) -> Iterator[tuple[str, Any]]:
    for name, value in sorted(vars(module).items()):
        if name in BOOKKEEPING or name.endswith(('_hooks', '_hooks_with_kwargs', '_hooks_always_called')):
            continue
        yield name, _content(value, f'{type(module).__name__}.{name}')


def _content(value: Any, name: str) -> Any:
    if isinstance(value, SCALARS):
        return value
    if isinstance(value, (set, frozenset)):
        # a set of texts has another order in each process
        return sorted((_content(item, name) for item in value), key=repr)
    if isinstance(value, (tuple, list)):
        return [_content(item, name) for item in value]
    if isinstance(value, dict):
        return [(str(key), _content(item, name)) for key, item in value.items()]
    if isinstance(value, type):
        return _kind(value)
    if isinstance(value, types.FunctionType):
        code = value.__code__
        constants = [const for const in code.co_consts if not isinstance(const, types.CodeType)]
        cells = [_content(cell.cell_contents, name) for cell in value.__closure__ or ()]
        return value.__qualname__, code.co_code, repr(constants), cells
    if isinstance(value, types.BuiltinFunctionType):
        return value.__qualname__
    raise UnknownPartError(f'{name} is a {type(value).__name__}')


@cache
def _kind(kind: type) -> tuple[str, ...]:
    """The classes that a class is made of; with their code where no version tells it."""
    return tuple(
        f'{base.__module__}.{base.__qualname__}' + ('' if base.__module__.split('.')[0] in KNOWN else _source(base))
        for base in kind.__mro__
    )


def _source(kind: type) -> str:
    try:
        return inspect.getsource(kind)
    except (OSError, TypeError) as error:
        raise UnknownPartError(f'the code of {kind.__qualname__} is not in a file') from error


@cache
def _package_code() -> str:
    """A checksum of the code that steps are made of, which changes without a new version while it is developed."""
    digest, root = hashlib.sha256(), Path(__file__).parents[1]
    for folder in ('ops', 'rows', 'models', 'engines'):
        for path in sorted((root / folder).rglob('*.py')):
            digest.update(path.read_bytes())
    return digest.hexdigest()
