"""Zip archives of numbers (``.pth``, ``.npz``): the directory is checked before any entry is read."""

from __future__ import annotations

import math
import os
import zipfile
from pathlib import Path
from typing import BinaryIO

import numpy as np

MAGIC = b'PK\x03\x04'
ENCRYPTED = 0x1
# how many times its size a compressed archive may unpack to; weights shrink by a few percent
MOST_TIMES, SMALL = 8, 2**20
STEP = 2**24


class ArchiveError(ValueError):
    """An archive that is not read, and why, in a few words."""


def stored_members(archive: zipfile.ZipFile, size: int) -> dict[str, zipfile.ZipInfo]:
    """The members of an archive that is not compressed, by name.

    Args:
        archive: The archive.
        size: Bytes of its file.

    Raises:
        ArchiveError: Members are compressed, encrypted, of one name, or together larger than the file.
    """
    members = _members(archive)
    if any(member.compress_type != zipfile.ZIP_STORED for member in members.values()):
        raise ArchiveError('it is compressed, which torch.save never does')
    if sum(member.file_size for member in members.values()) > size:
        raise ArchiveError('its members overlap, so that it would unpack to more than it is')
    return members


def read_into(file: BinaryIO, content: np.ndarray, whole: bool = True) -> None:
    """Fill an array of bytes from a file.

    Args:
        file: The file; of a member of an archive the checksum is compared at its end.
        content: ``(N,)`` uint8.
        whole: Whether the file must end there.

    Raises:
        EOFError: The file ends before.
        ArchiveError: It does not end there.
    """
    view = memoryview(content)
    while len(view):
        count = file.readinto(view[:STEP])
        if not count:
            raise EOFError('the content ends early')
        view = view[count:]
    if whole and file.read(1):
        raise ArchiveError('it holds more than it says')


def read_arrays(path: str | os.PathLike[str]) -> dict[str, np.ndarray]:
    """The arrays of an ``.npz`` file by name; nothing in it is unpickled.

    Args:
        path: The file.

    Raises:
        ArchiveError: The file unpacks to more than :data:`MOST_TIMES` its size, which weights do not, or holds objects.
        Exception: Almost any, of a damaged file.
    """
    with _opened(path) as archive:
        members = list(_members(archive).values())
        if sum(member.file_size for member in members) > max(SMALL, MOST_TIMES * Path(path).stat().st_size):
            raise ArchiveError(f'it unpacks to more than {MOST_TIMES} times its size')
        arrays = {}
        for member in members:
            name = member.filename.removesuffix('.npy')
            with archive.open(member) as file:
                arrays[name] = _read_array(file, member.file_size)
        return arrays


def _opened(path: str | os.PathLike[str]) -> zipfile.ZipFile:
    with open(path, 'rb') as file:
        if file.read(len(MAGIC)) != MAGIC:
            raise ArchiveError('it is no zip archive')
    return zipfile.ZipFile(path)


def _members(archive: zipfile.ZipFile) -> dict[str, zipfile.ZipInfo]:
    members = archive.infolist()
    if any(member.flag_bits & ENCRYPTED for member in members):
        raise ArchiveError('it is encrypted')
    by_name = {member.filename: member for member in members}
    if len(by_name) < len(members):
        raise ArchiveError('two of its members have one name')
    return by_name


def _read_array(file: BinaryIO, size: int) -> np.ndarray:
    version = np.lib.format.read_magic(file)
    read = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
    shape, fortran, dtype = read(file)
    if dtype.hasobject or dtype.names or dtype.subdtype:
        raise ArchiveError('it holds objects')
    count = math.prod(shape) * dtype.itemsize
    if count > size:
        raise ArchiveError('it holds an array of another size than its place')
    content = np.empty(count, np.uint8)
    read_into(file, content)
    return content.view(dtype).reshape(shape, order='F' if fortran else 'C')
