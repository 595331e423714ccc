"""Read checkpoints without running code in them.

A ``.pth`` file is a pickle, and a pickle can call anything. Everything here goes through our own interpreter
(:mod:`saga_mm.loading.unpickling`), which knows the few names that a checkpoint of mmengine's holds besides tensors.
"""

from __future__ import annotations

import io
import os
import re
from pathlib import Path
from pickle import UnpicklingError
from typing import Any
from urllib.error import URLError
from urllib.parse import urlparse

import torch
from torch import Tensor

from saga_mm.archives import ArchiveError
from saga_mm.errors import SagaError
from saga_mm.files import is_draft, user_path, write_file
from saga_mm.foundation import HAS_MMENGINE
from saga_mm.images.pictures import refuse_programs
from saga_mm.loading.named_files import require_checkpoint_file
from saga_mm.loading.torch_file import read_torch_file
from saga_mm.models.names import strip_in_place, without_wrappers
from saga_mm.text_files import read_text

_kept: dict[str, dict[str, Any]] = {}

# what mmengine downloads from
DOWNLOADED = ('http', 'https', 'torchvision', 'openmmlab', 'open-mmlab', 'mmcls', 'modelzoo')
# keys under which published files keep averaged weights
AVERAGED = ('model_ema', 'state_dict_ema', 'ema_state_dict')


def load_checkpoint(path: str | os.PathLike[str]) -> dict[str, Any]:
    """Read a checkpoint file; nothing in it is executed.

    Args:
        path: The file.

    Returns:
        A dict with ``state_dict``, the weights by name, beside whatever else the file holds (``meta``, ``optimizer``).
        Tensors are on the CPU.

    Raises:
        SagaError: The file is missing, damaged, no checkpoint, or would run code when read.
    """
    file = user_path(path)
    if (kept := _kept.pop(os.path.abspath(file), None)) is not None:
        return kept
    require_checkpoint_file(path)
    try:
        checkpoint = read_torch_file(file)
    except UnpicklingError as error:
        raise SagaError(_refusal(path, str(error))) from error
    except ArchiveError as error:
        raise SagaError(f'checkpoint {path}: was not loaded, since {error}') from error
    except Exception as error:  # damaged files raise almost anything
        raise SagaError(
            f'checkpoint {path}: is damaged, incomplete or not a checkpoint at all; an unbroken copy of it is needed'
        ) from error
    checkpoint = _with_state_dict(path, checkpoint)
    # on resume, mmengine executes the text of a config that it finds under this old key
    if isinstance(checkpoint.get('meta'), dict):
        checkpoint['meta'].pop('config', None)
    return checkpoint


def is_remote(path: str) -> bool:
    """Whether a path is an address that the stack downloads from.

    Raises:
        SagaError: It is the address of another kind of storage, such as ``s3://``.
    """
    scheme, found, _ = path.partition('://')
    if not found:
        return False
    if scheme.lower() not in DOWNLOADED:
        raise SagaError(f'checkpoint {path}: {scheme}:// is not read; download the file, and name it')
    return True


def keep(path: str | os.PathLike[str], checkpoint: dict[str, Any]) -> None:
    """Give what was read of a file to the next :func:`load_checkpoint` of the same path.

    The file is then read once, and may meanwhile be replaced by a training that goes on.
    """
    _kept[os.path.abspath(os.path.expanduser(path))] = checkpoint


def state_of(checkpoint: dict[str, Any]) -> dict[str, Tensor]:
    """The weights in a checkpoint, without the prefixes that wrappers leave."""
    return without_wrappers(checkpoint['state_dict'])


def load_state(path: str | os.PathLike[str]) -> dict[str, Tensor]:
    """The weights in a checkpoint file; see :func:`load_checkpoint`."""
    return state_of(load_checkpoint(path))


def make_files_safe() -> None:
    """Make the stack read and write files as this package does; may be called again.

    - Every checkpoint that mmengine loads goes through :func:`load_checkpoint`: ``--resume``, ``load_from`` and
      ``init_cfg=dict(type='Pretrained')`` on both stacks. torch itself refuses unsafe files in the few paths that
      remain (model-zoo URLs).
    - Pictures that are PostScript programs are not opened.
    - Files that mmengine and mmcv write appear when they are complete.
    - Lists of classes and of pictures may have a byte order mark, or be in UTF-16.

    The tools call it first of all. Importing ``saga_mm`` does not: a plugin that changes how the library beside it
    reads files could keep that library from reading its own.
    """
    refuse_programs()
    os.environ.pop('TORCH_FORCE_NO_WEIGHTS_ONLY_LOAD', None)
    os.environ['TORCH_FORCE_WEIGHTS_ONLY_LOAD'] = '1'
    if not HAS_MMENGINE:
        return
    from mmengine.fileio import LocalBackend
    from mmengine.runner import checkpoint as stack

    LocalBackend.put, LocalBackend.put_text, LocalBackend.get_text = _put, _put_text, _get_text
    stack.CheckpointLoader.register_scheme('', load_from_local, force=True)
    stack.CheckpointLoader.register_scheme(('http://', 'https://'), load_from_http, force=True)
    if hasattr(stack, '_safe_torch_load'):
        # the maintained stack's loader of the remaining schemes allows getattr, and retries unsafely
        stack._safe_torch_load = lambda file, map_location=None, **_: read_torch_file(Path(file))


def _put(backend: Any, obj: bytes, filepath: str | os.PathLike[str]) -> None:
    """What mmengine calls to write bytes."""
    if is_draft(filepath):
        # it will get its name when it is complete
        Path(filepath).write_bytes(obj)
    else:
        write_file(filepath, obj)


def _put_text(backend: Any, obj: str, filepath: str | os.PathLike[str], encoding: str = 'utf-8') -> None:
    """What mmengine calls to write text."""
    write_file(filepath, obj.encode(encoding))


def _get_text(backend: Any, filepath: str | os.PathLike[str], encoding: str = 'utf-8') -> str:
    """What mmengine calls to read text."""
    if encoding != 'utf-8':
        return Path(filepath).read_text(encoding=encoding)
    return io.StringIO(read_text(filepath), newline=None).read()


def load_from_local(filename: str, map_location: Any = None) -> dict[str, Any]:
    """What mmengine calls for a path; its log names a loader by what follows ``load_from_``."""
    return load_checkpoint(filename)


def load_from_http(filename: str, map_location: Any = None, **_: Any) -> dict[str, Any]:
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
    return load_checkpoint(target)


def _refusal(path: str | os.PathLike[str], reason: str) -> str:
    named = re.search(r'GLOBAL (getattr\(.*?\)|[\w.]+)', reason)
    called = re.search(r'unrecognized function (.+)', reason)
    if named and named[1].startswith('torch._utils._rebuild_'):
        return (
            f'checkpoint {path}: was not loaded, since it holds tensors that are not plain numbers ({named[1]}), but '
            'sparse, quantised, without data, or of a rare kind; save dense weights of float32, float16 or bfloat16'
        )
    what = named[1] if named else called[1].strip() if called else None
    if what is None:
        return f'checkpoint {path}: was not written by torch.save, or is damaged ({reason}); it was not loaded'
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
            if not all(isinstance(name, str) and name.isprintable() for name in state):
                raise SagaError(f'checkpoint {path}: holds weights under names that are no text')
            strip_in_place(state)
            return {'state_dict': state} if state is checkpoint else {**checkpoint, 'state_dict': state}
    keys = ', '.join(repr(key)[:40] for key in list(checkpoint)[:5]) or 'nothing'
    raise SagaError(f'checkpoint {path}: holds no weights (its keys: {keys})')
