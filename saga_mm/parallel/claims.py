"""Divide files among processes: each claims the next file by locks in a shared folder."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import time
from collections.abc import Callable, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from saga_mm.errors import SagaError
from saga_mm.files import make_folder, write_file

try:
    import fcntl
except ImportError:
    fcntl = None

FOLDER = '.saga_mm-work'
# seconds between looks at what others are still doing
PATIENCE = 0.2
# seconds that the first process waits for the others at the end
LONGEST_END = 10.0
RUN = (
    'MASTER_ADDR',
    'MASTER_PORT',
    'TORCHELASTIC_RUN_ID',
    'TORCHELASTIC_RESTART_COUNT',
    'SLURM_JOB_ID',
    'SLURM_STEP_ID',
)


class SharedWork:
    """Things to do, by name, that processes divide among themselves without talking to each other.

    A process claims a thing by a lock, which ends with the process however that ends, and writes a record when the
    thing is done. What has a record is not done again, by this run or the next with the same ``key``.

    Args:
        folder: A folder that all processes see; locks and records go into ``.saga_mm-work`` there.
        key: What the results depend on. Records of another key count for nothing.

    Raises:
        SagaError: The folder cannot be made, or the system has no locks of parts of files.
    """

    def __init__(self, folder: Path, key: str) -> None:
        if fcntl is None:
            raise SagaError(f'{folder}: processes cannot divide a folder on Windows; run one process')
        self.folder, self.key = make_folder(folder / FOLDER), hashlib.sha256(key.encode()).hexdigest()
        self._locks = os.open(self.folder / 'locks', os.O_RDWR | os.O_CREAT, 0o666)

    def run(
        self,
        names: Sequence[str],
        do: Callable[[str], dict[str, Any]],
        process: tuple[int, int],
        tell: Callable[[int], None] = lambda count: None,
    ) -> dict[str, dict[str, Any]]:
        """Do the work that no process has claimed, wait for the others, and redo what they leave unfinished.

        Args:
            names: Everything, in the same order on all processes.
            do: Does one thing and returns its record, plain values.
            process: Index of this process and their number: they begin at different places.
            tell: Called with the number of things that have a record.

        Returns:
            The record of each name.
        """
        records: dict[str, dict[str, Any]] = {}
        first = process[0] * len(names) // process[1]
        left = [*names[first:], *names[:first]]
        while left:
            before, waiting = len(left), []
            for name in left:
                record = self._record(name)
                if record is None:
                    with self._claim(name) as mine:
                        # it may have been done between the two looks
                        record = self._record(name) if mine else None
                        if mine and record is None:
                            record = do(name)
                            write_file(self._path(name), json.dumps({'key': self.key, 'name': name, 'record': record}))
                if record is None:
                    waiting.append(name)
                else:
                    records[name] = record
                    tell(len(records))
            left = waiting
            if len(left) == before:
                time.sleep(PATIENCE)
        return {name: records[name] for name in names}

    def finish(self, process: tuple[int, int]) -> None:
        """Remove locks and records, when all processes have seen that everything is done.

        The first process waits for the others. Where one does not come, records stay for the next run.

        Args:
            process: As of :meth:`run`, after which each process calls this.
        """
        index, count = process
        write_file(self._mark(index), _this_run())
        if index:
            return
        end = time.monotonic() + LONGEST_END
        while not all(self._is_marked(other) for other in range(count)):
            if time.monotonic() > end:
                return
            time.sleep(PATIENCE)
        os.close(self._locks)
        shutil.rmtree(self.folder, ignore_errors=True)

    def _mark(self, index: int) -> Path:
        return self.folder / f'finished-{index}'

    def _is_marked(self, index: int) -> bool:
        with suppress(OSError):
            return self._mark(index).read_text() == _this_run()
        return False

    def _record(self, name: str) -> dict[str, Any] | None:
        with suppress(OSError, ValueError, TypeError, KeyError):
            found = json.loads(self._path(name).read_bytes())
            if (found['key'], found['name']) == (self.key, name):
                return found['record']
        return None

    @contextmanager
    def _claim(self, name: str) -> Any:
        """Whether this process has claimed the name; until the block ends."""
        at = int(_digest(name)[:15], 16)
        try:
            fcntl.lockf(self._locks, fcntl.LOCK_EX | fcntl.LOCK_NB, 1, at)
        except BlockingIOError:
            yield False
            return
        except OSError as error:
            raise SagaError(
                f'{self.folder}: cannot be locked ({error.strerror}); processes divide a folder where files have locks'
            ) from error
        try:
            yield True
        finally:
            fcntl.lockf(self._locks, fcntl.LOCK_UN, 1, at)

    def _path(self, name: str) -> Path:
        return self.folder / f'{_digest(name)}.json'


def _this_run() -> str:
    """What tells one start of processes from another on the same folder."""
    return ' '.join(os.environ.get(name, '') for name in RUN)


def _digest(name: str) -> str:
    return hashlib.sha256(os.fsencode(name)).hexdigest()[:32]
