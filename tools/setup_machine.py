"""What set-up asks of the machine: commands run into a log, processes that end with us, compilers, free memory.

Standard library only, like `setup_env.py`, which it serves.
"""

from __future__ import annotations

import os
import re
import shutil
import signal
import subprocess
import sys
import sysconfig
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

BYTES_PER_JOB = 2 * 2**30


class SetupError(Exception):
    """What went wrong and what to do, for the user to read."""


def python_name() -> str:
    return 'python{}.{}'.format(*sys.version_info)


def base_python() -> str:
    """The Python outside any virtual environment, so that ours can be made anew while its own Python runs this."""
    return sys.executable if sys.prefix == sys.base_prefix else os.path.realpath(sys.executable)


def check_compiler() -> None:
    """Raises SetupError unless C++ extensions of this Python can be compiled."""
    for variable, default in (('CC', 'gcc'), ('CXX', 'g++')):
        compiler = os.environ.get(variable, default).split()[0]
        if shutil.which(compiler) is None:
            raise SetupError(
                f"{compiler} was not found, and mmcv's operators have to be compiled. "
                'On Debian and Ubuntu: apt install build-essential'
            )
    if not Path(sysconfig.get_path('include'), 'Python.h').exists():
        raise SetupError(
            f'the C headers of {sys.executable} are missing. On Debian and Ubuntu: apt install {python_name()}-dev'
        )


def parallel_jobs() -> int:
    """Compilers to run at once: MAX_JOBS if set, else one a core as far as the free memory carries them."""
    if os.environ.get('MAX_JOBS', '').isdigit():
        return max(1, int(os.environ['MAX_JOBS']))
    cores = len(os.sched_getaffinity(0)) if hasattr(os, 'sched_getaffinity') else os.cpu_count() or 1
    return max(1, min(cores, free_memory() // BYTES_PER_JOB))


def free_memory() -> int:
    """Bytes that this process may still use: the machine's or the container's, whichever is less."""
    free = 2**50
    with suppress(OSError):
        free = int(re.search(r'MemAvailable:\s+(\d+)', Path('/proc/meminfo').read_text()).group(1)) * 1024
    group = Path('/sys/fs/cgroup')
    with suppress(OSError, ValueError):
        free = min(free, int((group / 'memory.max').read_text()) - int((group / 'memory.current').read_text()))
    return free


def clock(seconds: float) -> str:
    return f'{int(seconds) // 60}:{int(seconds) % 60:02d}'


def compile_progress(log: Path, elapsed: float) -> str:
    """Says how far a compilation is, from ninja's own count, [12/77], at the end of the log."""
    with log.open('rb') as file:
        file.seek(max(0, log.stat().st_size - 2**20))
        counts = re.findall(rb'^\s*\[(\d+)/(\d+)\] ', file.read(), re.MULTILINE)
    if not counts:
        return 'preparing'
    done, total = map(int, counts[-1])
    # the first files say little about the rest
    left = f', about {clock(elapsed * (total - done) / done)} left' if done >= 5 else ''
    return f'{done} of {total} files compiled{left}'


def run_logged(command: list[str], log: Path, progress: Callable[[Path, float], str] | None = None, **kwargs) -> None:
    """Runs a command into the log and shows that it lives: each second on a terminal, else each half minute.

    Args:
        command: the program and its arguments.
        log: file to append the output to.
        progress: what to add to the elapsed time, from the log and the seconds since the start.
        **kwargs: passed to the process.

    Raises:
        SetupError: the command failed. The message ends with the log's last lines.
    """
    terminal = sys.stdout.isatty()
    start = shown = time.monotonic()
    with log.open('a') as output:
        print(f'\n$ {" ".join(command)}', file=output, flush=True)
        with own_process(command, stdout=output, stderr=output, **kwargs) as process:
            while process.poll() is None:
                time.sleep(0.2)
                now = time.monotonic()
                if now - shown >= (1 if terminal else 30):
                    shown = now
                    detail = f', {progress(log, now - start)}' if progress else ''
                    line = f'  {clock(now - start)} so far{detail}'
                    print(f'\r{line:<79}' if terminal else line, end='' if terminal else '\n', flush=True)
    if terminal:
        print(f'\r{"":<79}\r', end='', flush=True)
    if process.returncode:
        last = log.read_text(errors='replace').splitlines()[-15:]
        raise SetupError(
            '\n'
            + '\n'.join(f'  | {line[:300]}' for line in last)
            + f'\n\nThis command failed, and the lines above end its log, {log}:\n  {" ".join(command)}\n'
            'If it is the network, run the same make command again: it goes on from here.'
        )


@contextmanager
def own_process(command: list[str], **kwargs) -> Iterator[subprocess.Popen]:
    """A process whose whole family, compilers included, ends when this block is left by an exception."""
    process = subprocess.Popen(command, stdin=subprocess.DEVNULL, start_new_session=True, **kwargs)
    try:
        yield process
    except BaseException:
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        # the gentlest first: it lets pip remove its build folder
        for number, seconds in ((signal.SIGINT, 15), (signal.SIGTERM, 5), (signal.SIGKILL, 5)):
            with suppress(ProcessLookupError, subprocess.TimeoutExpired):
                os.killpg(process.pid, number)
                process.wait(timeout=seconds)
        raise
