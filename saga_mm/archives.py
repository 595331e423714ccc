"""Zip archives that hold numbers (``.pth``, ``.npz``), checked by their directory before anything in them is read."""

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
STEP = 2**20


class ArchiveError(ValueError):
    """An archive that is not read, and why, in a few words."""


def check_stored(path: str | os.PathLike[str]) -> None:
    """Check an archive whose members are not compressed: sizes by its directory, content by its checksums.

    Raises:
        ArchiveError: Members are compressed, encrypted, damaged, of one name, or together larger than the file.
    """
    with _opened(path) as archive:
        members = _members(archive)
        if any(member.compress_type != zipfile.ZIP_STORED for member in members):
            raise ArchiveError('it is compressed, which torch.save never does')
        if sum(member.file_size for member in members) > Path(path).stat().st_size:
            raise ArchiveError('its members overlap, so that it would unpack to more than it is')
        for member in members:
            with archive.open(member) as file:
                while file.read(STEP):
                    pass


def read_arrays(path: str | os.PathLike[str]) -> dict[str, np.ndarray]:
    """The arrays of an ``.npz`` file by name; nothing in it is unpickled.

    Args:
        path: The file.

    Raises:
        ArchiveError: The file unpacks to more than :data:`MOST_TIMES` its size, which weights do not, or holds objects.
        Exception: Almost any, of a damaged file.
    """
    with _opened(path) as archive:
        members = _members(archive)
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


def _members(archive: zipfile.ZipFile) -> list[zipfile.ZipInfo]:
    members = archive.infolist()
    if any(member.flag_bits & ENCRYPTED for member in members):
        raise ArchiveError('it is encrypted')
    if len({member.filename for member in members}) < len(members):
        raise ArchiveError('two of its members have one name')
    return members


def _read_array(file: BinaryIO, size: int) -> np.ndarray:
    version = np.lib.format.read_magic(file)
    read = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
    shape, fortran, dtype = read(file)
    if dtype.hasobject or dtype.names or dtype.subdtype:
        raise ArchiveError('it holds objects')
    count = math.prod(shape) * dtype.itemsize
    if count > size:
        raise ArchiveError('it holds an array of another size than its place')
    content = file.read(count)
    # reads to the end, where the checksum is compared
    if len(content) != count or file.read(1):
        raise ArchiveError('it holds an array of another size than its place')
    return np.frombuffer(bytearray(content), dtype).reshape(shape, order='F' if fortran else 'C')
