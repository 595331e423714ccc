"""A bounded cache of compiled steps on disk, in the user's cache folder."""

from __future__ import annotations

import hashlib
import os
from contextlib import suppress
from pathlib import Path

from saga_mm.errors import SagaError
from saga_mm.files import Draft

# changes when a file written before must not be read any more
MAGIC = b'saga_mm compiled step 1\n'
LIMIT_BYTES = 2 * 2**30
SUFFIX = '.step'


def cache_folder() -> Path:
    """``$SAGA_MM_CACHE``, or ``saga_mm/engines`` in the user's cache folder."""
    if folder := os.environ.get('SAGA_MM_CACHE'):
        return Path(folder)
    return Path(os.environ.get('XDG_CACHE_HOME') or '~/.cache').expanduser() / 'saga_mm' / 'engines'


class StepCache:
    """Compiled steps by key. Files appear complete or not at all, so two programs can share a folder.

    A file begins with a checksum of its content: what is damaged, or was not written by this class, is removed and
    compiled anew. Beyond the limit the steps go that were not used for longest.

    Args:
        folder: Where the files are; None for :func:`cache_folder`.
        limit: Bytes that they may take together.

    Attributes:
        problem: Why the last step could not be kept, or None.
    """

    def __init__(self, folder: Path | None = None, limit: int = LIMIT_BYTES) -> None:
        self.folder, self.limit = folder or cache_folder(), limit
        self.problem: str | None = None

    def get(self, key: str) -> bytes | None:
        """The step that was kept under a key, or None."""
        path = self._path(key)
        try:
            content = path.read_bytes()
        except OSError:
            return None
        head = len(MAGIC) + hashlib.sha256().digest_size
        if not content.startswith(MAGIC) or hashlib.sha256(content[head:]).digest() != content[len(MAGIC) : head]:
            with suppress(OSError):
                path.unlink()
            return None
        with suppress(OSError):
            os.utime(path)
        return content[head:]

    def has(self, key: str) -> bool:
        """Whether a step is there under a key, for inputs of any sizes."""
        return self.holds(f'{key}-')

    def holds(self, key: str) -> bool:
        """Whether there is something under this very key."""
        return self._path(key).is_file()

    def put(self, key: str, step: bytes) -> None:
        """Keep a step, if the disk allows it."""
        try:
            with Draft(self._path(key)) as draft:
                draft.temporary.write_bytes(MAGIC + hashlib.sha256(step).digest() + step)
            self._shrink()
        except (SagaError, OSError) as error:
            self.problem = f'compiled steps are not kept: {error}'

    def _path(self, key: str) -> Path:
        return self.folder / f'{key}{SUFFIX}'

    def _shrink(self) -> None:
        files = []
        for path in self.folder.glob(f'*{SUFFIX}'):
            # another program may have removed it by now
            with suppress(OSError):
                facts = path.stat()
                files.append((facts.st_mtime, facts.st_size, path))
        total = sum(size for _, size, _ in files)
        for _, size, path in sorted(files):
            if total <= self.limit:
                return
            with suppress(OSError):
                path.unlink()
            total -= size
