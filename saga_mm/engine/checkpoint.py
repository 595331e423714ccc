"""Reading checkpoints without running what is in them.

A ``.pth`` file is a pickle, and a pickle can call anything. Everything here goes through torch's ``weights_only``
unpickler with a list of the few names that a checkpoint of mmengine's holds besides tensors. That list has no bare
``getattr``: with it, a file can walk from any allowed function to ``exec``, although ``weights_only`` is on.
"""

from __future__ import annotations

import os
import re
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from pickle import UnpicklingError
from typing import Any
from urllib.error import URLError
from urllib.parse import urlparse

import numpy as np
import torch
from torch import Tensor

from saga_mm.errors import SagaError

MapLocation = str | torch.device | Callable | None

NUMPY_KINDS = '?bBhHiIlLqQefdgFD'
# keys under which published files keep averaged weights
AVERAGED = ('model_ema', 'state_dict_ema', 'ema_state_dict')


def load_checkpoint(path: str | os.PathLike[str], map_location: MapLocation = 'cpu') -> dict[str, Any]:
    """Read a checkpoint file; nothing in it is executed.

    Args:
        path: The file.
        map_location: Where the tensors go, as in :func:`torch.load`.

    Returns:
        A dict with ``state_dict``, the weights by name, beside whatever else the file holds (``meta``, ``optimizer``).

    Raises:
        SagaError: The file is missing, damaged, no checkpoint, or would run code when read.
    """
    file = Path(path).expanduser()
    if file.is_dir():
        raise SagaError(f'checkpoint {path}: is a folder; name one .pth file in it')
    if not file.is_file():
        raise SagaError(f'checkpoint {path}: no such file')
    if file.stat().st_size == 0:
        raise SagaError(f'checkpoint {path}: is empty (0 bytes), as a save that was cut short leaves it')
    try:
        checkpoint = _load_weights_only(file, map_location)
    except UnpicklingError as error:
        raise SagaError(_refusal(path, str(error))) from error
    except (RuntimeError, EOFError, OSError, ValueError, TypeError, KeyError, IndexError, AttributeError) as error:
        if 'TorchScript' in str(error):
            raise SagaError(f'checkpoint {path}: is a TorchScript program, not weights; it was not loaded') from error
        raise SagaError(
            f'checkpoint {path}: is damaged, incomplete or not a checkpoint at all; an unbroken copy of it is needed'
        ) from error
    checkpoint = _with_state_dict(path, checkpoint)
    # on resume, mmengine executes the text of a config that it finds under this old key
    if isinstance(checkpoint.get('meta'), dict):
        checkpoint['meta'].pop('config', None)
    return checkpoint


def state_of(checkpoint: dict[str, Any]) -> dict[str, Tensor]:
    """The weights in a checkpoint, without the prefix that a distributed wrapper leaves."""
    return {re.sub(r'^module\.', '', name): value for name, value in checkpoint['state_dict'].items()}


def load_state(path: str | os.PathLike[str], map_location: MapLocation = 'cpu') -> dict[str, Tensor]:
    """The weights in a checkpoint file; see :func:`load_checkpoint`."""
    return state_of(load_checkpoint(path, map_location))


def make_loading_safe() -> None:
    """Send every checkpoint that mmengine loads through :func:`load_checkpoint`; may be called again.

    This covers ``--resume``, ``load_from`` and ``init_cfg=dict(type='Pretrained')`` on both stacks, and makes torch
    itself refuse unsafe files in the few paths that remain (model-zoo URLs). The tools call it first of all. Importing
    ``saga_mm`` does not: a plugin that changes how its host loads files could keep the host from its own.
    """
    from mmengine.runner import checkpoint as stack

    os.environ.pop('TORCH_FORCE_NO_WEIGHTS_ONLY_LOAD', None)
    os.environ['TORCH_FORCE_WEIGHTS_ONLY_LOAD'] = '1'
    stack.CheckpointLoader.register_scheme('', load_from_local, force=True)
    stack.CheckpointLoader.register_scheme(('http://', 'https://'), load_from_http, force=True)
    if hasattr(stack, '_safe_torch_load'):
        # the maintained stack's loader of the remaining schemes allows getattr, and retries unsafely
        stack._safe_torch_load = lambda file, map_location=None, **_: _load_weights_only(file, map_location)


def load_from_local(filename: str, map_location: MapLocation = None) -> dict[str, Any]:
    """What mmengine calls for a path; its log names a loader by what follows ``load_from_``."""
    return load_checkpoint(filename, map_location)


def load_from_http(filename: str, map_location: MapLocation = None, **_: Any) -> dict[str, Any]:
    """What mmengine calls for a URL: download once into torch's cache, then :func:`load_checkpoint`."""
    from mmengine.dist import barrier, get_rank

    target = Path(torch.hub.get_dir()) / 'checkpoints' / Path(urlparse(filename).path).name
    if get_rank() == 0 and not target.is_file():
        target.parent.mkdir(parents=True, exist_ok=True)
        digest = re.search(r'-([a-f0-9]{8,})\.', target.name)
        try:
            torch.hub.download_url_to_file(filename, str(target), digest and digest[1], progress=False)
        except (URLError, OSError, RuntimeError) as error:
            raise SagaError(f'checkpoint {filename}: could not be downloaded: {error}') from error
    barrier()
    return load_checkpoint(target, map_location)


class _Name:
    """Stands in for a class of which a checkpoint needs a function or two, but never the class itself."""


_ONE_CYCLE = _Name()


def _attribute(owner: Any, name: str) -> Any:
    """Read under the name of ``getattr`` when a checkpoint refers to a method: the few that occur, and no other."""
    from mmengine.logging import HistoryBuffer
    from mmengine.optim import OneCycleParamScheduler

    if owner is HistoryBuffer and name in ('min', 'max', 'mean', 'current'):
        return getattr(HistoryBuffer, name)
    if owner is _ONE_CYCLE and name in ('_annealing_cos', '_annealing_linear'):
        return getattr(OneCycleParamScheduler, name)
    raise UnpicklingError(f'GLOBAL getattr({getattr(owner, "__name__", type(owner).__name__)}, {str(name)!r})')


def _allowed() -> list[tuple[Any, str]]:
    from mmengine.logging import HistoryBuffer

    array = np.zeros(1)
    rebuild, scalar = array.__reduce__()[0], array[0].__reduce__()[0]
    allowed: list[tuple[Any, str]] = [
        (_attribute, 'builtins.getattr'),
        (HistoryBuffer, 'mmengine.logging.history_buffer.HistoryBuffer'),
        (_ONE_CYCLE, 'mmengine.optim.scheduler.param_scheduler.OneCycleParamScheduler'),
        (np.ndarray, 'numpy.ndarray'),
        (np.dtype, 'numpy.dtype'),
    ]
    # numpy 2 moved these; files of either version are read with either
    for module in ('numpy.core.multiarray', 'numpy._core.multiarray'):
        allowed += [(rebuild, f'{module}._reconstruct'), (scalar, f'{module}.scalar')]
    kinds = {type(np.dtype(kind)) for kind in NUMPY_KINDS}
    return allowed + [(kind, f'{kind.__module__}.{kind.__qualname__}') for kind in kinds]


@contextmanager
def _only_allowed() -> Iterator[None]:
    """Our list and what the user's own code has allowed, except for ``getattr``, which we read our own way."""
    others = torch.serialization.get_safe_globals()
    kept = [entry for entry in others if (entry[0] if isinstance(entry, tuple) else entry) is not getattr]
    torch.serialization.clear_safe_globals()
    torch.serialization.add_safe_globals(kept + _allowed())
    try:
        yield
    finally:
        torch.serialization.clear_safe_globals()
        torch.serialization.add_safe_globals(others)


def _load_weights_only(file: Any, map_location: MapLocation) -> Any:
    with _only_allowed(), warnings.catch_warnings():
        # of other pickle protocols and TorchScript; both end in an error of ours
        warnings.simplefilter('ignore')
        return torch.load(file, map_location=map_location, weights_only=True)


def _refusal(path: str | os.PathLike[str], reason: str) -> str:
    named = re.search(r'GLOBAL (getattr\(.*?\)|[\w.]+)', reason)
    called = re.search(r'unrecognized function (.+)', reason)
    what = named[1] if named else called[1].strip() if called else None
    if what is None:
        return f'checkpoint {path}: was not written by torch.save, or is damaged; it was not loaded'
    return (
        f'checkpoint {path}: refused, and nothing in it was loaded: it holds {what}, and reading that could run code. '
        'A checkpoint needs only tensors and plain values; if you made the file, save the state_dict alone'
    )


def _with_state_dict(path: str | os.PathLike[str], checkpoint: Any) -> dict[str, Any]:
    """Find the weights: under mmengine's key, under ``model`` as published files have them, averaged ones, or bare."""
    if not isinstance(checkpoint, dict):
        raise SagaError(f'checkpoint {path}: holds a {type(checkpoint).__name__}, not weights by name')
    for state in (*(checkpoint.get(key) for key in ('state_dict', 'model', *AVERAGED)), checkpoint):
        if isinstance(state, dict) and any(isinstance(value, Tensor) for value in state.values()):
            if any(not isinstance(name, str) for name in state):
                raise SagaError(f'checkpoint {path}: holds weights under names that are no text')
            return {'state_dict': state} if state is checkpoint else {**checkpoint, 'state_dict': state}
    keys = ', '.join(str(key) for key in list(checkpoint)[:5]) or 'nothing'
    raise SagaError(f'checkpoint {path}: holds no weights (its keys: {keys})')
