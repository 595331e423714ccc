"""A path that a library writes to while another function reads what it has written."""

from __future__ import annotations

import io
import os
import struct
import time
from collections.abc import Callable
from contextlib import suppress
from threading import Lock, Thread
from typing import Any, BinaryIO

try:
    from fcntl import ioctl
    from termios import FIONREAD
except ImportError:
    # Windows, which has no paths of open pipes either
    ioctl = None

HAS_PIPES = ioctl is not None


class Pipe(io.RawIOBase):
    """A path to write to. A function in another thread reads what is written.

    If the function fails, the rest is read and dropped, so that the writer never waits and never meets an error.
    :meth:`join` adds a byte as the end, because a process that is forked meanwhile holds the pipe open.

    Args:
        take: Is given what arrives, as a file.

    Attributes:
        path: To be opened by the writer before :meth:`start`.
        error: Of the function, if it failed.
    """

    def __init__(self, take: Callable[[BinaryIO], None]) -> None:
        super().__init__()
        self._take = take
        self._source, self._sink = os.pipe()
        self._lock, self._is_ended, self._is_read = Lock(), False, False
        self._thread = Thread(target=self._run, daemon=True)
        self.path = f'/dev/fd/{self._sink}'
        self.error: OSError | None = None

    def start(self) -> None:
        """Start the thread that reads."""
        self._thread.start()

    def wait_until_empty(self) -> None:
        """Wait until all that was written has been read.

        OpenImageIO holds Python's lock while it closes a file. The last bytes, fewer than a pipe holds, then have room.
        """
        while self._thread.is_alive() and self._waiting():
            time.sleep(1e-3)

    def divert(self) -> None:
        """Discard everything that is written from now on.

        OpenImageIO fills up a picture that is closed too early, with more bytes than a pipe holds. It keeps Python's
        lock meanwhile, so that no thread could read them.
        """
        if self._is_ended:
            return
        inode, own = os.fstat(self._sink).st_ino, (self._source, self._sink)
        with open(os.devnull, 'wb') as nowhere:
            for name in os.listdir('/dev/fd'):
                # one of them was the listing's own
                with suppress(OSError):
                    if int(name) not in own and os.fstat(int(name)).st_ino == inode:
                        os.dup2(nowhere.fileno(), int(name), inheritable=False)

    def join(self) -> None:
        """Wait until everything is read. The writer must have closed the path."""
        if self._is_ended:
            return
        # under the lock: whoever reads sees either no end, or the byte that is it
        with self._lock:
            os.write(self._sink, b'.')
            self._is_ended = True
        if self._thread.ident is not None:
            self._thread.join()
        os.close(self._source)
        os.close(self._sink)

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        """Fill a buffer with what has arrived; nothing at the end."""
        if self._is_read:
            return 0
        data = os.read(self._source, len(buffer))
        with self._lock:
            if self._is_ended and not self._waiting():
                self._is_read = True
                data = data[:-1]
        buffer[: len(data)] = data
        return len(data)

    def _waiting(self) -> int:
        """How many bytes are in the pipe."""
        return struct.unpack('i', ioctl(self._source, FIONREAD, bytes(4)))[0]

    def _run(self) -> None:
        source = io.BufferedReader(self)
        try:
            self._take(source)
        except OSError as error:
            self.error = error
        except (ValueError, struct.error):
            self.error = OSError('what was encoded is incomplete')
        # a full pipe would stop the encoder, which cannot be told to stop
        while source.read(2**16):
            pass
