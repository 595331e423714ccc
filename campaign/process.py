"""Tools in processes that are forked from this one, which has imported the stack: a case takes a second, not ten."""

from __future__ import annotations

import atexit
import os
import resource
import runpy
import signal
import sys
import time
import traceback
from collections.abc import Callable, Generator, Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

ROOT = Path(__file__).parents[1]
# seconds after which a tool on files as small as these hangs, on a machine that does nothing else; see ``patience``
LIMIT = 120.0
# status of a process that could not be prepared
BROKEN = 97
# what is started and not yet ended
_running: set[Running] = set()


@dataclass
class Result:
    """How a tool ended.

    Attributes:
        words: Its command line.
        status: Exit status; below 0 the signal that ended it; None if it was still running when its time was over.
        output: Standard output and error.
        seconds: How long it ran.
    """

    words: Sequence[str]
    status: int | None
    output: str
    seconds: float

    @property
    def outcome(self) -> str:
        """``'traceback'``, ``'crash'``, ``'hang'``, ``'clear error'``, or ``'right'`` for a status of 0."""
        if self.status is None:
            return 'hang'
        if self.status < 0 or self.status == BROKEN:
            return 'crash'
        if 'Traceback (most recent call last)' in self.output or 'Exception ignored' in self.output:
            return 'traceback'
        if self.status == 0:
            return 'right'
        # status 1 of a check is what the user is told in lines
        reported = self.output.strip() and self.status in (1, 2, 129, 130, 143)
        return 'clear error' if reported else 'silent'

    @property
    def last(self) -> str:
        """The last line of its output, or how it was ended."""
        if self.status is not None and self.status < 0:
            return f'signal {-self.status}'
        _, found, trace = self.output.partition('Traceback (most recent call last)')
        if found:
            return ' / '.join(line.strip() for line in trace.splitlines()[1:])[-600:]
        return ([line for line in self.output.splitlines() if line.strip()] or [''])[-1][:240]

    def __str__(self) -> str:
        return f'{" ".join(map(str, self.words))}: {self.last}'


class Stopwatch:
    """Seconds in which somebody looked at it often: a machine may stop all that runs for a while."""

    def __init__(self) -> None:
        self._passed, self._last = 0.0, time.monotonic()

    def read(self) -> float:
        """What has passed, of which a pause counts a second."""
        now = time.monotonic()
        self._passed += min(now - self._last, 1.0)
        self._last = now
        return self._passed


@dataclass(eq=False)
class Running:
    """A tool that runs.

    Attributes:
        limit: Seconds after which it hangs.
        stop: When a signal is sent, in seconds after the start, which, and whether to all that the tool started.
        watch: How long it was watched.
    """

    words: Sequence[str]
    number: int
    pipe: int
    started: float = field(default_factory=time.monotonic)
    status: int | None = None
    output: bytes = b''
    limit: float = LIMIT
    stop: tuple[float, int, bool] | None = None
    watch: Stopwatch = field(default_factory=Stopwatch)

    def is_over(self) -> bool:
        """Whether it has ended; takes what it has printed."""
        while data := self._read():
            self.output += data
        if self.stop is not None and time.monotonic() - self.started > self.stop[0]:
            self.send(*self.stop[1:])
            self.stop = None
        if self.status is None:
            number, status = os.waitpid(self.number, os.WNOHANG)
            if number:
                self.status = os.waitstatus_to_exitcode(status)
        return self.status is not None

    def is_late(self) -> bool:
        """Whether it takes longer than it may."""
        return self.status is None and self.watch.read() > self.limit * patience()

    def stop_after(self, seconds: float, number: int = signal.SIGKILL, to_all: bool = False) -> Running:
        """Have a signal sent so long after the start."""
        self.stop = seconds, number, to_all
        return self

    def _read(self) -> bytes:
        try:
            return os.read(self.pipe, 2**16) if self.pipe >= 0 else b''
        except BlockingIOError:
            return b''

    def send(self, number: int = signal.SIGKILL, to_all: bool = False) -> None:
        """Send a signal to the tool; a kill, or any that is for all, to those that it started as well."""
        if self.status is None:
            # the group is there a moment after the process
            sends = {os.killpg, os.kill} if number == signal.SIGKILL else {os.killpg if to_all else os.kill}
            for send in sends:
                with suppress(ProcessLookupError):
                    send(self.number, number)

    def wait(self) -> Result:
        """Wait until it ends; what takes longer than it may is killed."""
        hangs = False
        while not self.is_over():
            if self.is_late() and not hangs:
                hangs = True
                self.send()
            time.sleep(0.005)
        with suppress(ProcessLookupError, PermissionError):
            # workers of a killed process
            os.killpg(self.number, signal.SIGKILL)
        self.is_over()
        os.close(self.pipe)
        self.pipe = -1
        _running.discard(self)
        seconds = time.monotonic() - self.started
        status = None if hangs else self.status
        return Result(self.words, status, self.output.decode(errors='backslashreplace'), seconds)


def end_all() -> None:
    """Kill what is still running, with all that it started."""
    for running in list(_running):
        running.send()
        running.wait()


def patience() -> float:
    """How many times as long things take as on an idle machine, by the load of the last minutes."""
    return max(1.0, max(os.getloadavg()[:2]) / (os.cpu_count() or 1))


def start(tool: str, *words: object, cwd: Path, prepare: Callable[[], None] | None = None) -> Running:
    """Start a tool as from a command line.

    Args:
        tool: Its name, such as ``'train'``.
        words: What follows it.
        cwd: Where it runs.
        prepare: Called in the new process: limits, patches.
    """
    arguments = [str(word) for word in words]
    source, sink = os.pipe()
    os.set_blocking(source, False)
    sys.stdout.flush()
    sys.stderr.flush()
    number = os.fork()
    if not number:
        os.close(source)
        _become(tool, arguments, cwd, sink, prepare)
    os.close(sink)
    running = Running([tool, *arguments], number, source)
    _running.add(running)
    return running


def run(
    tool: str, *words: object, cwd: Path, prepare: Callable[[], None] | None = None, limit: float = LIMIT
) -> Result:
    """:func:`start`, and wait."""
    running = start(tool, *words, cwd=cwd, prepare=prepare)
    running.limit = limit
    return running.wait()


def _become(tool: str, words: list[str], cwd: Path, sink: int, prepare: Callable[[], None] | None) -> None:
    """Run a tool in this process, which was forked for it, and end."""
    status = BROKEN
    try:
        os.setsid()
        # the campaign hears it as Ctrl-C
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
        nothing = os.open(os.devnull, os.O_RDONLY)
        for source, target in ((nothing, 0), (sink, 1), (sink, 2)):
            os.dup2(source, target)
        sys.stdout = os.fdopen(1, 'w', closefd=False)
        sys.stderr = os.fdopen(2, 'w', buffering=1, closefd=False)
        os.chdir(cwd)
        path = str(ROOT / 'tools' / f'{tool}.py')
        sys.argv = [path, *words]
        status = _run(path, prepare)
    finally:
        os._exit(status)


def _run(path: str, prepare: Callable[[], None] | None) -> int:
    try:
        if prepare is not None:
            prepare()
        runpy.run_path(path, run_name='__main__')
        status = 0
    except SystemExit as end:
        status = end.code if isinstance(end.code, int) else int(end.code is not None)
    except BaseException:
        traceback.print_exc()
        status = 1
    atexit._run_exitfuncs()
    for stream in (sys.stdout, sys.stderr):
        try:
            stream.flush()
        except OSError:
            status = status or 120
    return status


def limit_files(size: int, kills: bool = False) -> Callable[[], None]:
    """Have no file of a process grow beyond a size: a write fails as on a full disk, or ends the process inside it."""

    def prepare() -> None:
        signal.signal(signal.SIGXFSZ, signal.SIG_DFL if kills else signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (size, size))

    return prepare


def together(jobs: Iterable[Generator[Running, Result, None]], width: int = max(1, os.cpu_count() or 1)) -> None:
    """Run jobs side by side. Each yields tools that it started and is given their results.

    Args:
        jobs: Generators, taken as there is room for them.
        width: How many run at once.
    """
    waiting, at_work = iter(jobs), []
    while True:
        while len(at_work) < width and (job := next(waiting, None)) is not None:
            with suppress(StopIteration):
                at_work.append((job, next(job)))
        if not at_work:
            return
        for entry in list(at_work):
            job, running = entry
            if running.is_over() or running.is_late():
                at_work.remove(entry)
                with suppress(StopIteration):
                    at_work.append((job, job.send(running.wait())))
        time.sleep(0.005)
