"""What a checkpoint may hold, and how it is made of a file without calling anything that the file chooses.

torch's ``weights_only`` unpickler calls what a list of names allows. Its own list also allows what reads memory that a
file addresses (arrays of objects), takes as much memory as a file names (``bytearray``, storages), or sets attributes
of anything (``_rebuild_from_type_v2``). Files that name any of these are refused before they are read, and numpy's
constructors are replaced by ours.
"""

from __future__ import annotations

import math
import pickletools
import re
import warnings
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from pickle import UnpicklingError
from typing import Any, BinaryIO

import numpy as np
import torch

from saga_mm.archives import MAGIC, ArchiveError, check_stored

NUMPY_KINDS = '?bBhHiIlLqQefdgFD'
NO_RECORD = (None, None, None, -1, -1, 0)
PLAIN = (
    'collections.OrderedDict',
    'collections.Counter',
    'torch._utils._rebuild_tensor',
    'torch._utils._rebuild_tensor_v2',
    'torch._utils._rebuild_parameter',
    'torch.Size',
    'torch.device',
    '_codecs.encode',
    'builtins.set',
    'builtins.complex',
)
# storages and kinds of numbers; torch itself knows which of these there are
NUMBERS = re.compile(r'torch\.(\w+Storage|[a-z]\w*\d+\w*|bool)')
# names of Python 2
OLD_MODULES = {'__builtin__': 'builtins', 'copy_reg': 'copyreg'}
# of the old format: a magic number, a version, facts of the machine, and the checkpoint
OLD_PICKLES = 4


def read_pickle(path: Path, map_location: Any) -> Any:
    """Read what ``torch.save`` wrote.

    Raises:
        UnpicklingError: The file names something that a checkpoint does not need, or is none of ``torch.save``.
        ArchiveError: Its members are not what ``torch.save`` writes.
        Exception: Almost any, of a damaged file.
    """
    with path.open('rb') as file:
        if file.read(len(MAGIC)) == MAGIC:
            _check_archive(path)
        else:
            file.seek(0)
            _require_plain(file, OLD_PICKLES)
    with only_plain(), warnings.catch_warnings():
        # of other pickle protocols and TorchScript; both end in an error of ours
        warnings.simplefilter('ignore')
        return torch.load(path, map_location=map_location, weights_only=True)


@contextmanager
def only_plain() -> Iterator[None]:
    """Our names and what the user's own code has allowed, except for ``getattr``, which we read our own way."""
    others = torch.serialization.get_safe_globals()
    kept = [entry for entry in others if (entry[0] if isinstance(entry, tuple) else entry) is not getattr]
    torch.serialization.clear_safe_globals()
    torch.serialization.add_safe_globals(kept + _ours())
    try:
        yield
    finally:
        torch.serialization.clear_safe_globals()
        torch.serialization.add_safe_globals(others)


def _check_archive(path: Path) -> None:
    with zipfile.ZipFile(path) as archive:
        names = archive.namelist()
        if any(name.endswith('constants.pkl') for name in names):
            raise ArchiveError('it is a TorchScript program, not weights')
        check_stored(path)
        # whichever of them torch takes for the checkpoint
        for name in names:
            if name.endswith('.pkl'):
                with archive.open(name) as pickled:
                    _require_plain(pickled, 1)


def _require_plain(file: BinaryIO, pickles: int) -> None:
    """Refuse pickles that name what a checkpoint does not need."""
    allowed = {*PLAIN, *(name for _, name in _ours()), *_of_user()}
    for _ in range(pickles):
        for name in _names(file):
            if name not in allowed and not NUMBERS.fullmatch(name):
                raise UnpicklingError(f'GLOBAL {name}')


def _names(file: BinaryIO) -> Iterator[str]:
    """What a pickle names, in its order."""
    try:
        for code, argument, _ in pickletools.genops(file):
            if code.name == 'GLOBAL':
                module, _, name = argument.partition(' ')
                yield f'{OLD_MODULES.get(module, module)}.{name}'
            elif code.name in ('STACK_GLOBAL', 'INST', 'OBJ', 'EXT1', 'EXT2', 'EXT4'):
                raise UnpicklingError('names that torch.save does not write')
    except ValueError as error:
        raise UnpicklingError('no pickle') from error


def _of_user() -> list[str]:
    """The names that the user's own code has allowed."""
    return [
        entry[1] if isinstance(entry, tuple) else f'{entry.__module__}.{entry.__qualname__}'
        for entry in torch.serialization.get_safe_globals()
    ]


def _ours() -> list[tuple[Any, str]]:
    """What is read under which name."""
    from mmengine.logging import HistoryBuffer

    ours: list[tuple[Any, str]] = [
        (_attribute, 'builtins.getattr'),
        (HistoryBuffer, 'mmengine.logging.history_buffer.HistoryBuffer'),
        (_ONE_CYCLE, 'mmengine.optim.scheduler.param_scheduler.OneCycleParamScheduler'),
        (_no_bytes, 'builtins.bytes'),
        (_ARRAY, 'numpy.ndarray'),
        (_KindOfNumber, 'numpy.dtype'),
    ]
    # numpy 2 moved these; files of either version are read with either
    for module in ('numpy.core.multiarray', 'numpy._core.multiarray'):
        ours += [(_Array, f'{module}._reconstruct'), (_scalar, f'{module}.scalar')]
    return ours


class _Name:
    """Stands in for a class of which a checkpoint needs the name, or a function or two, but never the class itself."""


_ONE_CYCLE, _ARRAY = _Name(), _Name()


def _attribute(owner: Any, name: str) -> Any:
    """Read under the name of ``getattr`` when a checkpoint refers to a method: the few that occur, and no other."""
    from mmengine.logging import HistoryBuffer
    from mmengine.optim import OneCycleParamScheduler

    if owner is HistoryBuffer and name in ('min', 'max', 'mean', 'current'):
        return getattr(HistoryBuffer, name)
    if owner is _ONE_CYCLE and name in ('_annealing_cos', '_annealing_linear'):
        return getattr(OneCycleParamScheduler, name)
    raise UnpicklingError(f'GLOBAL getattr({getattr(owner, "__name__", type(owner).__name__)}, {str(name)!r})')


def _no_bytes(*_: Any) -> bytes:
    """Read under the name of ``bytes``, which the pickles of torch call for empty ones alone."""
    return b''


class _KindOfNumber:
    """Read under the name of ``numpy.dtype``: numbers alone, no objects, records or texts."""

    def __init__(self, kind: str, *_: Any) -> None:
        self.dtype = np.dtype(kind) if isinstance(kind, str) and re.fullmatch(r'[?a-zA-Z]\d{0,2}', kind) else None
        if self.dtype is None or self.dtype.char not in NUMPY_KINDS:
            raise UnpicklingError(f'GLOBAL numpy.dtype({str(kind)[:40]!r})')

    def __setstate__(self, state: Any) -> None:
        # version, byte order, what only records have, and perhaps metadata
        if not isinstance(state, tuple) or state[1] not in ('<', '>', '|', '=') or state[2:8] != NO_RECORD:
            raise UnpicklingError('a kind of number that cannot be read')
        self.dtype = self.dtype.newbyteorder(state[1])


class _Array(np.ndarray):
    """Read under the name of numpy's ``_reconstruct``: an empty array, to be filled by its state.

    The content is compared with the shape before numpy sees either. Pickled again it is a plain array.
    """

    def __new__(cls, *_: Any) -> _Array:
        return np.zeros(0, np.uint8).view(cls)

    def __setstate__(self, state: Any) -> None:
        *_, shape, kind, fortran, content = state
        dims = shape if isinstance(shape, tuple) and len(shape) <= 32 else (-1,)
        if (
            not isinstance(kind, _KindOfNumber)
            or not isinstance(content, bytes)
            or not all(type(dim) is int and dim >= 0 for dim in dims)
            or math.prod(dims) * kind.dtype.itemsize != len(content)
        ):
            raise UnpicklingError('an array whose content does not fit its shape')
        super().__setstate__((1, dims, kind.dtype, bool(fortran), content))

    def __reduce__(self) -> Any:
        return np.array(self, subok=False).__reduce__()


def _scalar(kind: Any, content: Any = b'') -> Any:
    """Read under the name of numpy's ``scalar``."""
    if not isinstance(kind, _KindOfNumber) or not isinstance(content, bytes) or len(content) != kind.dtype.itemsize:
        raise UnpicklingError('a number whose content does not fit its kind')
    return np.frombuffer(content, kind.dtype)[0]
