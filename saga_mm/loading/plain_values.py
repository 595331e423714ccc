"""Safe stand-ins for the functions and classes that checkpoints name: they check arguments and make plain values."""

from __future__ import annotations

import math
import re
from collections import Counter, OrderedDict
from collections.abc import Callable
from pickle import UnpicklingError
from typing import Any, Protocol

import numpy as np
import torch
from torch import Tensor

NUMPY_KINDS = '?bBhHiIlLqQefdgFD'
NO_RECORD = (None, None, None, -1, -1, 0)
PLAIN_KEYS = (str, bytes, int, float, type(None))
# larger numbers share their hashes with smaller ones
LARGEST_KEY = 2**60
# of a tensor or an array
MOST_SIDES, LONGEST_SIDE = 32, 2**48


class Budget(Protocol):
    """Counts the bytes of the objects that a file makes."""

    def spend(self, count: int) -> None:
        """Raise where more is made than a file of its size holds."""


class Name:
    """A name in a pickle; what it stands for is in :data:`FUNCTIONS`."""

    def __init__(self, name: str) -> None:
        self.name = name


class StorageKind:
    """A kind of storage."""

    def __init__(self, dtype: torch.dtype) -> None:
        self.dtype = dtype


class TensorStorage:
    """The numbers of a storage, flat."""

    def __init__(self, numbers: Tensor) -> None:
        self.numbers = numbers


class NumberKind:
    """What ``numpy.dtype`` makes: numbers alone, no objects, records or texts."""

    def __init__(self, kind: Any) -> None:
        if not isinstance(kind, str) or not re.fullmatch(r'[?a-zA-Z]\d{0,2}', kind):
            raise UnpicklingError('GLOBAL numpy.dtype')
        self.dtype = np.dtype(kind)
        if self.dtype.char not in NUMPY_KINDS:
            raise UnpicklingError(f'GLOBAL numpy.dtype({kind!r})')

    def set_order(self, state: Any) -> None:
        # version, byte order, what only records have, and perhaps metadata
        if state[1] not in ('<', '>', '|', '=') or tuple(state[2:8]) != NO_RECORD:
            raise UnpicklingError('a kind of number that cannot be read')
        self.dtype = self.dtype.newbyteorder(state[1])


class Unfinished:
    """An object that is made when its state is read."""

    def __init__(self, build: Callable[[Budget, Any], Any]) -> None:
        self.build = build
        self.places: set[int] = set()


def _array(reader: Budget, state: Any) -> np.ndarray:
    *_, shape, kind, fortran, content = state
    if (
        not isinstance(kind, NumberKind)
        or not isinstance(content, bytes)
        or not _are_sizes(exactly(shape, tuple))
        or math.prod(shape) * kind.dtype.itemsize != len(content)
    ):
        raise UnpicklingError('an array whose content does not fit its shape')
    reader.spend(len(content))
    array = np.frombuffer(bytearray(content), kind.dtype).reshape(shape, order='F' if fortran else 'C')
    return array.astype(kind.dtype.newbyteorder('='), copy=False)


def _scalar(reader: Budget, kind: Any, content: Any) -> Any:
    if not isinstance(kind, NumberKind) or not isinstance(content, bytes) or len(content) != kind.dtype.itemsize:
        raise UnpicklingError('a number whose content does not fit its kind')
    return np.frombuffer(content, kind.dtype)[0]


def _history(reader: Budget, state: Any) -> Any:
    from mmengine.logging import HistoryBuffer

    logs, counts = (np.asarray(_numbers(state[key])) for key in ('_log_history', '_count_history'))
    longest = state['max_length']
    if logs.ndim != 1 or logs.shape != counts.shape or {logs.dtype.kind, counts.dtype.kind} - set('biuf'):
        raise UnpicklingError('a log that is no list of numbers')
    if type(longest) is not int or longest < 1:
        raise UnpicklingError('a log without its length')
    reader.spend(logs.nbytes + counts.nbytes)
    return HistoryBuffer(logs, counts, longest)


def _attribute(reader: Budget, owner: Any, name: Any) -> Any:
    """What is read for ``getattr``: the few methods that checkpoints refer to, and no others."""
    from mmengine.logging import HistoryBuffer
    from mmengine.optim import OneCycleParamScheduler

    classes = {HISTORY: (HistoryBuffer, ('min', 'max', 'mean', 'current'))}
    classes[ONE_CYCLE] = OneCycleParamScheduler, ('_annealing_cos', '_annealing_linear')
    found, names = classes.get(owner.name if isinstance(owner, Name) else '', (None, ()))
    if exactly(name, str) not in names:
        raise UnpicklingError(f'GLOBAL getattr({getattr(owner, "name", type(owner).__name__)}, {name[:40]!r})')
    return getattr(found, name)


def _tensor(reader: Budget, storage: Any, offset: Any, size: Any, stride: Any, *more: Any) -> Tensor:
    for numbers in (size, stride, (offset,)):
        if not _are_sizes(exactly(numbers, tuple, torch.Size)):
            raise UnpicklingError('a tensor of an invalid size')
    # raises where they reach beyond the storage
    tensor = torch.as_strided(exactly(storage, TensorStorage).numbers, size, stride, offset)
    # how it is to be read: requires_grad, hooks, and what is negative or conjugate without being computed
    views = exactly(more[2], dict) if len(more) > 2 and more[2] else {}
    if views.get('conj'):
        tensor = tensor.conj()
    # views, since the numbers of an old file come after its pickle
    return torch._neg_view(tensor) if views.get('neg') else tensor


def _size(reader: Budget, sizes: Any = ()) -> torch.Size:
    if not _are_sizes(exactly(sizes, tuple, list)):
        raise UnpicklingError('an invalid size')
    return torch.Size(sizes)


def _encoded(reader: Budget, text: str, encoding: str = 'latin1') -> bytes:
    if exactly(encoding, str) not in ('latin1', 'latin-1'):
        raise UnpicklingError(f'GLOBAL _codecs.encode(..., {encoding[:40]!r})')
    reader.spend(len(exactly(text, str)))
    return text.encode('latin1')


def _made_of(kind: type) -> Callable[..., Any]:
    """A dict, or a set, of nothing or of what is given."""

    def make(reader: Budget, items: Any = ()) -> Any:
        reader.spend(16 * len(exactly(items, tuple, list, dict, OrderedDict)))
        if kind is set:
            return {plain_key(item) for item in items}
        return kind({plain_key(key): value for key, value in (items.items() if isinstance(items, dict) else items)})

    return make


HISTORY = 'mmengine.logging.history_buffer.HistoryBuffer'
ONE_CYCLE = 'mmengine.optim.scheduler.param_scheduler.OneCycleParamScheduler'
FUNCTIONS: dict[str, Callable[..., Any]] = {
    'builtins.getattr': _attribute,
    'builtins.set': _made_of(set),
    'builtins.complex': lambda reader, real=0.0, imaginary=0.0: complex(real, imaginary),
    # for empty ones alone
    'builtins.bytes': lambda reader: b'',
    '_codecs.encode': _encoded,
    'collections.OrderedDict': _made_of(OrderedDict),
    'collections.Counter': _made_of(Counter),
    'torch._utils._rebuild_tensor': _tensor,
    'torch._utils._rebuild_tensor_v2': _tensor,
    'torch._utils._rebuild_parameter': lambda reader, data, *_: exactly(data, Tensor),
    'torch.Size': _size,
    'torch.device': lambda reader, kind, *index: torch.device(exactly(kind, str), *index),
    # of published files and of mmengine: what they hold is read as a dict, or not at all
    'argparse.Namespace': _made_of(OrderedDict),
    'yacs.config.CfgNode': _made_of(OrderedDict),
    'mmengine.config.config.ConfigDict': _made_of(dict),
    'numpy.ndarray': lambda reader, *_: _refuse('GLOBAL numpy.ndarray'),
    'numpy.dtype': lambda reader, kind, *_: NumberKind(kind),
    **{f'numpy.{core}.multiarray._reconstruct': lambda reader, *_: Unfinished(_array) for core in ('core', '_core')},
    **{f'numpy.{core}.multiarray.scalar': _scalar for core in ('core', '_core')},
    HISTORY: lambda reader, *_: Unfinished(_history),
    ONE_CYCLE: lambda reader, *_: _refuse(f'GLOBAL {ONE_CYCLE}'),
}


def _are_sizes(numbers: Any) -> bool:
    """Whether these can be the sides or strides of an array: few, and no huge numbers."""
    return len(numbers) <= MOST_SIDES and all(type(side) is int and 0 <= side <= LONGEST_SIDE for side in numbers)


def _refuse(reason: str) -> None:
    raise UnpicklingError(reason)


def exactly(value: Any, *kinds: type) -> Any:
    if type(value) not in kinds:
        raise UnpicklingError(f'a {type(value).__name__} where a {kinds[0].__name__} belongs')
    return value


def plain_key(key: Any) -> Any:
    """A key whose hash takes no time, as that of a tuple of tuples of tuples, and differs from those of others."""
    if isinstance(key, PLAIN_KEYS) and not (isinstance(key, int) and abs(key) > LARGEST_KEY):
        return key
    raise UnpicklingError(f'a {type(key).__name__} as a key')


def module_versions(found: Any) -> OrderedDict:
    """Of the facts that a state dict keeps of its modules, the versions, by name."""
    named = exactly(found, OrderedDict, dict).items()
    if not all(isinstance(name, str) and type(facts) in (dict, OrderedDict) for name, facts in named):
        raise UnpicklingError('invalid versions of modules')
    # others would change how torch loads a state
    versions = ((name, facts.get('version')) for name, facts in named)
    return OrderedDict((name, {'version': version}) for name, version in versions if type(version) is int)


def _numbers(values: Any) -> Any:
    """An array or a list, of numbers alone: numpy would unfold lists of lists of lists."""
    if type(values) is list and not all(isinstance(value, (int, float)) for value in values):
        raise UnpicklingError('a log that is no list of numbers')
    return exactly(values, np.ndarray, list)
