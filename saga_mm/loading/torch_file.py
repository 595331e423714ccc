"""Read files of ``torch.save`` in the current and the older format, without Python's unpickler."""

from __future__ import annotations

import io
import struct
import sys
import zipfile
from pathlib import Path
from pickle import UnpicklingError
from typing import Any, BinaryIO

import torch
from torch import Tensor

from saga_mm.archives import MAGIC, ArchiveError, read_into, stored_members
from saga_mm.loading.plain_values import StorageKind, exactly
from saga_mm.loading.unpickling import read_pickle

# what the old format begins with
OLD_MAGIC, OLD_VERSION = 0x1950A86A20F9469CFC6C, 1001


def read_torch_file(path: Path) -> Any:
    """Read what ``torch.save`` wrote; tensors are on the CPU.

    Raises:
        UnpicklingError: As :func:`saga_mm.loading.unpickling.read_pickle`.
        ArchiveError: Its members are not what ``torch.save`` writes.
        Exception: Almost any, of a damaged file.
    """
    with path.open('rb') as file:
        if file.read(len(MAGIC)) == MAGIC:
            with zipfile.ZipFile(path) as archive:
                return _read_archive(archive, path.stat().st_size)
        file.seek(0)
        return _read_old(file, path.stat().st_size)


def _read_archive(archive: zipfile.ZipFile, size: int) -> Any:
    if any(name.endswith('/constants.pkl') for name in archive.namelist()):
        raise ArchiveError('it is a TorchScript program, not weights')
    members = stored_members(archive, size)
    mains = [name for name in members if name.endswith('/data.pkl')]
    if len(mains) != 1:
        raise ArchiveError('it holds no checkpoint, or several')
    root = mains[0].removesuffix('data.pkl')
    if f'{root}byteorder' in members:
        _require_order(archive.read(f'{root}byteorder') == b'little')
    loaded: dict[str, Tensor] = {}

    def load(identity: tuple) -> Tensor:
        _, kind, key, _, count, *_ = identity
        if exactly(key, str) not in loaded:
            # the size of the member, not that which the pickle claims: the latter is compared afterwards
            loaded[key] = torch.empty(members[f'{root}data/{key}'].file_size, dtype=torch.uint8)
            with archive.open(f'{root}data/{key}') as file:
                read_into(file, loaded[key].numpy())
        return _numbers(loaded[key], kind, count)

    # read to its end first, where the checksum is compared
    return read_pickle(io.BytesIO(archive.read(mains[0])), size, load)


def _read_old(file: BinaryIO, size: int) -> Any:
    storages: dict[Any, Tensor] = {}
    counts: dict[Any, int] = {}
    left = size

    def refuse(identity: tuple) -> Tensor:
        raise UnpicklingError('a storage where none belongs')

    def load(identity: tuple) -> Tensor:
        nonlocal left
        _, kind, key, _, count, view = identity
        if type(count) is not int or not isinstance(kind, StorageKind):
            raise UnpicklingError('an invalid storage')
        if exactly(key, str) not in storages:
            left -= count * kind.dtype.itemsize
            if count < 0 or left < 0:
                raise UnpicklingError('storages that are larger than the file')
            # filled when the pickles are read
            counts[key] = count
            storages[key] = torch.zeros(count * kind.dtype.itemsize, dtype=torch.uint8)
        if view is not None:
            raise UnpicklingError('a view of a storage, as only very old files have')
        return _numbers(storages[key], kind, count)

    if (read_pickle(file, size, refuse), read_pickle(file, size, refuse)) != (OLD_MAGIC, OLD_VERSION):
        raise UnpicklingError('not of torch.save')
    _require_order(read_pickle(file, size, refuse).get('little_endian') is not False)
    found = read_pickle(file, size, load)
    keys = read_pickle(file, size, refuse)
    if sorted(keys) != sorted(storages):
        raise UnpicklingError('storages that are missing')
    for key in keys:
        if struct.unpack('<q', file.read(8)) != (counts[key],):
            raise UnpicklingError('a storage of another size')
        read_into(file, storages[key].numpy(), whole=False)
    return found


def _numbers(content: Tensor, kind: Any, count: Any) -> Tensor:
    if not isinstance(kind, StorageKind) or type(count) is not int or count * kind.dtype.itemsize != content.numel():
        raise UnpicklingError('a storage of another size than its content')
    return content.view(kind.dtype)


def _require_order(little: bool) -> None:
    if not little or sys.byteorder != 'little':
        raise ArchiveError('its numbers are in another byte order than this processor reads')
