"""Programs in processes of their own, forked from one in which everything is imported and nothing has run.

A program that is started imports torch and the stack for three to six seconds. What a start alone shows (what a program
imports, and what imports print) is held by the tests that start one.
"""

import gc
import itertools
import logging
import os
import pickle
import runpy
import signal
import socket
import struct
import sys
import time
import traceback
from collections.abc import Mapping
from pathlib import Path

# seconds
INTERVAL = 0.01
LENGTH = struct.Struct('!Q')


class Forked:
    """A running program, used as a ``subprocess.Popen`` is.

    Args:
        status: A pipe with its process id and, when it has ended, its status, one a line.
        folder: Has what it has written to ``out`` and ``err`` so far.
    """

    def __init__(self, status: int, folder: Path) -> None:
        self._status, self.folder, self.returncode = os.fdopen(status), folder, None
        self.pid = int(self._status.readline())
        os.set_blocking(status, False)

    def poll(self) -> int | None:
        """The exit status; None while it runs."""
        if self.returncode is None and (line := self._status.readline()):
            self.returncode = int(line)
            self._status.close()
        return self.returncode

    def wait(self, timeout: float = 200) -> int:
        """Wait for the end: the exit status."""
        end = time.monotonic() + timeout
        while self.poll() is None:
            if time.monotonic() > end:
                self.send_signal(signal.SIGKILL)
                raise TimeoutError(f'still runs after {timeout} s:\n' + self.written('out') + self.written('err'))
            time.sleep(INTERVAL)
        return self.returncode

    def communicate(self, timeout: float = 200) -> tuple[str, str]:
        """Wait for the end: what was written to the standard output and to the standard error output."""
        self.wait(timeout)
        return self.written('out'), self.written('err')

    def send_signal(self, number: int) -> None:
        if self.poll() is None:
            os.kill(self.pid, number)

    def written(self, name: str) -> str:
        """What was written to ``out`` or ``err`` so far."""
        return (self.folder / name).read_text()


class Forker:
    """Starts programs; to be made before anything has run that starts threads or changes modules.

    Attributes:
        folder: Where what programs write is kept.
    """

    def __init__(self) -> None:
        self.folder, self._number = Path(), itertools.count()
        self._socket, served = socket.socketpair()
        if not (server := os.fork()):
            self._socket.close()
            try:
                _serve(served)
            finally:
                os._exit(0)
        served.close()
        self._server = server

    def start(
        self, script: Path, *words: object, cwd: Path | None = None, env: Mapping[str, str] | None = None
    ) -> Forked:
        """Run a script as ``python SCRIPT WORDS`` does."""
        folder = self.folder / str(next(self._number))
        folder.mkdir()
        status, written = os.pipe()
        request = [str(script), *map(str, words)], str(cwd or Path.cwd()), dict(env or os.environ), str(folder)
        content = pickle.dumps(request)
        socket.send_fds(self._socket, [LENGTH.pack(len(content))], [written])
        self._socket.sendall(content)
        os.close(written)
        return Forked(status, folder)

    def run(self, script: Path, *words: object, **options: object) -> Forked:
        """The same, until it ends; an end with an error is one."""
        program = self.start(script, *words, **options)
        assert program.wait() == 0, program.written('err')[-4000:]
        return program

    def run_code(self, code: str, *words: object, **options: object) -> Forked:
        """The same for ``python -c CODE WORDS``."""
        script = self.folder / f'{next(self._number)}.py'
        script.write_text(code)
        return self.run(script, *words, **options)

    def close(self) -> None:
        # that it is closed is not seen where another forker has it too
        self._socket.sendall(LENGTH.pack(0))
        os.waitpid(self._server, 0)


def _serve(served: socket.socket) -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    started = []
    while True:
        head, handles, _, _ = socket.recv_fds(served, LENGTH.size, 1)
        if not handles:
            break
        (status,) = handles
        request = served.recv(*LENGTH.unpack(head), socket.MSG_WAITALL)
        if not (waiting := os.fork()):
            served.close()
            if not (child := os.fork()):
                os.close(status)
                _become(*pickle.loads(request))
            os.write(status, f'{child}\n'.encode())
            ended = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
            os.write(status, f'{ended}\n'.encode())
            os._exit(0)
        os.close(status)
        started.append(waiting)
    for waiting in started:
        os.waitpid(waiting, 0)


def _become(argv: list[str], cwd: str, env: dict[str, str], folder: str) -> None:
    """Be the program, as far as it can tell."""
    signal.signal(signal.SIGINT, signal.default_int_handler)
    for number, path, mode in ((0, os.devnull, 'r'), (1, f'{folder}/out', 'w'), (2, f'{folder}/err', 'w')):
        with open(path, mode) as file:
            os.dup2(file.fileno(), number)
    sys.stdout, sys.stderr = (os.fdopen(number, 'w', buffering=1, closefd=False) for number in (1, 2))
    sys.__stdout__, sys.__stderr__ = sys.stdout, sys.stderr
    # pytest listens
    logging.root.handlers.clear()
    sys.meta_path[:] = [finder for finder in sys.meta_path if 'pytest' not in type(finder).__module__]
    gc.enable()
    os.chdir(cwd)
    os.environ.clear()
    os.environ.update(env)
    sys.argv = argv
    sys.path[:0] = [os.path.dirname(argv[0]), *filter(None, env.get('PYTHONPATH', '').split(os.pathsep))]
    status = 0
    try:
        runpy.run_path(argv[0], run_name='__main__')
    except SystemExit as stop:
        status = stop.code
        if isinstance(status, str):
            print(status, file=sys.stderr)
        status = int(status is not None) if not isinstance(status, int) else status
    except BaseException:
        traceback.print_exc()
        status = 1
    finally:
        sys.stdout.flush()
        os._exit(status & 0xFF)
