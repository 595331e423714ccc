"""Write files that appear complete or not at all, also with several writers and a full disk."""

from __future__ import annotations

import errno
import io
import os
import re
import secrets
import shutil
import stat
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import BinaryIO

from saga_mm.errors import SagaError

try:
    import fcntl
except ImportError:  # Windows
    fcntl = None

PREFIX, SUFFIX = '.saga_mm-', '.part'
NAME = re.compile(rf'{re.escape(PREFIX)}[0-9a-f]{{12}}{re.escape(SUFFIX)}')
FULL = (errno.ENOSPC, errno.EDQUOT)
# bytes that are left on a disk which a library found full
FULL_BELOW = 2**20
_swept: set[str] = set()


class Draft:
    """A file under a temporary name, which gets its own name when it is complete. A context manager.

    The temporary file lies in the folder of the file and is called ``.saga_mm-RANDOM.part``. This process holds a lock
    on it, so that the next process that writes into the folder can tell what a killed process left, and remove it. Two
    processes can write the same file: it is complete at any time, and the one that ends last has written it.

    As a context manager, a draft is published when the block ends, and discarded when it is left by an exception; an
    ``OSError`` then becomes a :class:`SagaError`.

    Args:
        path: The file. Its folder is made; a file that exists is replaced when the new one is complete.

    Attributes:
        path: The file.
        temporary: The name to write under. The file exists and is empty.

    Raises:
        SagaError: The file cannot be created, or something that is no file has its name.
    """

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self.path = user_path(path)
        self._handle: int | None = None
        self._process = os.getpid()
        try:
            _make_folder(self.path.parent)
            _require_file(self.path)
            remove_leftovers(self.path.parent)
            self.temporary, self._handle = _create(self.path.parent)
            if self.path.exists():
                os.chmod(self.temporary, stat.S_IMODE(self.path.stat().st_mode))
        except OSError as error:
            self.discard()
            raise write_error(self.path, error) from error

    def publish(self) -> None:
        """Give the file its name, once its content is on the disk.

        Raises:
            SagaError: The content cannot be written to the disk, or the file cannot get its name.
        """
        try:
            os.fsync(self._handle)
            if fcntl is None:
                # Windows renames no file that is open
                self._close()
            os.replace(self.temporary, self.path)
            _flush_folder(self.path.parent)
        except OSError as error:
            self.discard()
            raise write_error(self.path, error) from error
        self._close()

    def discard(self) -> None:
        """Remove the temporary file. Does nothing after :meth:`publish`."""
        if self._handle is not None:
            # a process that was forked has its own copy of this draft, and not the file
            if self._process == os.getpid():
                with suppress(OSError):
                    self.temporary.unlink(missing_ok=True)
            self._close()

    def _close(self) -> None:
        if self._handle is not None:
            os.close(self._handle)
            self._handle = None

    def __enter__(self) -> Draft:
        return self

    def __exit__(self, kind: type | None, error: BaseException | None, *_: object) -> None:
        if kind is None:
            self.publish()
            return
        self.discard()
        if isinstance(error, OSError):
            raise write_error(self.path, error) from error


def file_stamp(path: Path) -> str:
    """Size and time of a file, which change with its content; empty if there is no file."""
    try:
        found = path.stat()
    except OSError:
        return ''
    return f'{found.st_size} {found.st_mtime_ns}'


def user_path(name: str | os.PathLike[str]) -> Path:
    """A path as a user writes it: ``~`` is the home folder, and a file may be called ``~x.png``."""
    path = Path(name)
    # no user has this home: it is the name of a file
    with suppress(RuntimeError):
        return path.expanduser()
    return path


def write_file(path: str | os.PathLike[str], content: bytes | str | Callable[[BinaryIO], object]) -> None:
    """Write a file that appears when it is complete.

    Args:
        path: The file; its folder is made.
        content: Bytes; text, which becomes UTF-8; or a function that writes them to a file object. The function writes
            to memory, since several libraries do not report, or do not survive, a disk that is full.

    Raises:
        SagaError: The file cannot be written; an earlier file of the name is as it was.
    """
    if callable(content):
        buffer = io.BytesIO()
        content(buffer)
        content = buffer.getbuffer()
    elif isinstance(content, str):
        # names of files may hold bytes that are no UTF-8; as escapes they stay readable, in JSON too
        content = content.encode('utf-8', 'backslashreplace')
    with Draft(path) as draft, draft.temporary.open('wb') as file:
        file.write(content)


def is_draft(path: str | os.PathLike[str]) -> bool:
    """Whether a path is the temporary name of a :class:`Draft`."""
    return bool(NAME.fullmatch(os.path.basename(path)))


def write_image(path: str | os.PathLike[str], save: Callable[..., object], **options: object) -> None:
    """Write a picture that appears when it is complete, in the format that its ending names.

    Args:
        path: The file.
        save: ``save`` of a Pillow image, or ``savefig`` of a Matplotlib figure.
        options: Of ``save``.

    Raises:
        SagaError: As :func:`write_file`.
    """
    ending = Path(path).suffix.lower().removeprefix('.')
    kind = {'jpg': 'jpeg', 'tif': 'tiff'}.get(ending, ending)
    write_file(path, lambda file: save(file, format=kind, **options))


def _make_folder(folder: Path) -> None:
    """Make a folder and those above it.

    Raises:
        NotADirectoryError: One of them is a file.
        OSError: One of them cannot be made.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except FileExistsError as error:
        raise NotADirectoryError(errno.ENOTDIR, f'{folder} is no folder') from error


def library_error(path: str | os.PathLike[str], reason: str) -> OSError:
    """An ``OSError`` for a library that reports failures as text alone; free space tells if the disk is full."""
    with suppress(OSError):
        if shutil.disk_usage(_disk_of(Path(path))).free < FULL_BELOW:
            return OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
    return OSError(reason)


def write_error(path: str | os.PathLike[str], error: OSError) -> SagaError:
    """The message for a file that could not be written, with the reason; for a full disk it names the disk."""
    reason = error.strerror or str(error) or type(error).__name__
    if error.errno in FULL:
        with suppress(OSError):
            disk = _disk_of(Path(path))
            left = shutil.disk_usage(disk)
            reason += f': {disk} has {left.free / 2**20:,.1f} of {left.total / 2**20:,.0f} MB left'
    return SagaError(f'{path}: could not be written ({reason})')


@contextmanager
def full_disk_named(folder: str | os.PathLike[str]) -> Iterator[None]:
    """Turn the error that a library raises on a full disk into a :class:`SagaError` that names folder and disk.

    Raises:
        SagaError: The disk is full.
    """
    try:
        yield
    except OSError as error:
        if error.errno not in FULL:
            raise
        raise write_error(error.filename or folder, error) from error


def remove_leftovers(folder: str | os.PathLike[str]) -> None:
    """Remove temporary files that killed processes left in a folder; looked for once a process.

    Files that another process is writing are locked, and stay. Nothing with a name of other programs is touched.
    """
    key = os.path.realpath(folder)
    if key in _swept or fcntl is None:
        return
    _swept.add(key)
    for rest in filter(is_draft, Path(folder).glob(f'{PREFIX}*{SUFFIX}')):
        with suppress(OSError):
            handle = os.open(rest, os.O_RDWR | os.O_NOFOLLOW)
            try:
                fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
                rest.unlink()
            finally:
                os.close(handle)


@contextmanager
def locked_folder(folder: str | os.PathLike[str], busy: str) -> Iterator[None]:
    """Hold a lock on a folder. The lock leaves no file, and ends with the process, however that ends.

    Where the file system or the platform has no locks, nothing is locked.

    Args:
        folder: The folder, which is made.
        busy: The message if another process holds the lock.

    Raises:
        SagaError: Another process holds the lock, or the folder cannot be made.
    """
    try:
        os.makedirs(folder, exist_ok=True)
        handle = None if fcntl is None else os.open(folder, os.O_RDONLY)
    except OSError as error:
        raise write_error(folder, error) from error
    if handle is None:
        yield
        return
    # a process that is forked would hold the lock on, for as long as it lives
    owner = [handle]
    if hasattr(os, 'register_at_fork'):
        os.register_at_fork(after_in_child=lambda: os.close(owner.pop()) if owner else None)
    try:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise SagaError(busy) from None
        except OSError:
            # a file system without locks
            pass
        yield
    finally:
        if owner:
            # for what is forked and has not closed it yet
            with suppress(OSError):
                fcntl.flock(handle, fcntl.LOCK_UN)
            os.close(owner.pop())


def _create(folder: Path) -> tuple[Path, int]:
    """A new empty file with a temporary name, open and locked."""
    while True:
        path = folder / f'{PREFIX}{secrets.token_hex(6)}{SUFFIX}'
        handle = os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o666)
        if fcntl is None:
            return path, handle
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
            mine = True
        except BlockingIOError:
            mine = False
        except OSError:
            # a file system without locks
            mine = True
        # another process may take it for a leftover before it is locked
        if mine and os.fstat(handle).st_nlink:
            return path, handle
        os.close(handle)


def _require_file(path: Path) -> None:
    """Refuse a path that a file cannot replace: a folder, a name that is too long, or a device like ``/dev/null``."""
    try:
        os.lstat(path)
    except FileNotFoundError:
        return
    if path.exists() and not path.is_file():
        what = 'a folder' if path.is_dir() else 'no regular file'
        raise SagaError(f'{path}: could not be written (it is {what}); name another file')


def _disk_of(path: Path) -> Path:
    """The folder where the file system begins that a path lies in."""
    place = Path(os.path.abspath(path)).parent
    while not place.exists():
        place = place.parent
    while not os.path.ismount(place):
        place = place.parent
    return place


def _flush_folder(folder: Path) -> None:
    """Wait until a folder's list of names is on the disk, where the system can say so."""
    with suppress(OSError):
        handle = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)


def make_folder(path: Path) -> Path:
    """Make a folder for results.

    Raises:
        SagaError: It cannot be made.
    """
    path = user_path(path)
    try:
        path.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise SagaError(f'{path}: cannot be made ({error.strerror})') from error
    return path
