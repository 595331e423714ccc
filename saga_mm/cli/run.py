"""Run a tool: handle signals and exit codes, and print errors as one line."""

from __future__ import annotations

import errno
import io
import os
import signal
import sys
import threading
import time
from collections.abc import Callable, Sequence
from typing import NoReturn

from saga_mm.cli.extras import INSTALLS, cure, missing
from saga_mm.display.console import is_speaker
from saga_mm.errors import SagaError, SharedError, shell_text
from saga_mm.files import FULL, write_error

# errors of the system in what a user names: what cannot be read or written, and names that it does not take
OF_USERS = (errno.EACCES, errno.EPERM, errno.EROFS, errno.ENAMETOOLONG, errno.ELOOP, errno.EISDIR, errno.ENOTDIR)

# seconds in which a launcher ends the other processes after the first one has told of an error
OTHERS_WAIT = 5.0


def run_tool(main: Callable[[], None], interrupted: str = 'Interrupted.', needs: Sequence[str] = ()) -> None:
    """Run a tool's ``main`` and exit with its status.

    A :class:`SagaError` is printed without a traceback and ends the process with status 2; Ctrl-C prints
    ``interrupted`` and ends it with 130. A library that is missing is
    named with the command that installs it. Anything else is a bug of ours or of the stack, and keeps its traceback.
    Of several processes the first one speaks; another one does where its error is its own.

    Args:
        main: The tool, called without arguments.
        interrupted: What to say after Ctrl-C, for example how to resume.
        needs: Modules that the tool cannot do without: where one is missing, all that are missing are named.
    """
    for stream in (sys.stdout, sys.stderr):
        # names of files and classes may have letters that the encoding of a terminal lacks
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors='backslashreplace')
    _stop_at_signals()
    try:
        _hear_interrupts()
        _call(main)
    except SagaError as error:
        if isinstance(error, SharedError) and not (is_speaker() if error.tells is None else error.tells):
            sys.exit(2)
        _tell_error(shell_text(error), at_once=isinstance(error, SharedError))
    except ModuleNotFoundError as error:
        name = (error.name or '').partition('.')[0]
        if name not in INSTALLS:
            raise
        names = (missing(needs) if name in needs else []) or [name]
        are, them = ('are', 'them') if len(names) > 1 else ('is', 'it')
        _tell_error(f'{", ".join(names)} {are} not installed, and this needs {them}: {cure(names)}')
    except BrokenPipeError:
        # the reader of our output is gone (`| head`); without this, Python complains once more at exit
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(141)
    except OSError as error:
        known = error.errno in FULL or (error.errno in OF_USERS and error.filename)
        if not known:
            raise
        # without a name it is what the tool prints
        reason = f'{error.filename or "the output"}: {error.strerror}'
        if error.errno in FULL and error.filename:
            reason = str(write_error(error.filename, error))
        _tell_error(reason)
    except KeyboardInterrupt:
        _tell_end(interrupted, 130)
    except _Stopped as stop:
        _tell_end(f'{stop}: {interrupted}', 128 + stop.number)
    finally:
        _finish_in_order()


def _tell_error(text: str, at_once: bool = False) -> NoReturn:
    sys.stdout.flush()
    prefix = ''
    if not is_speaker():
        # most errors occur in all processes: the first one reports them, and the launcher then ends the others
        try:
            time.sleep(0 if at_once else OTHERS_WAIT)
        except (KeyboardInterrupt, _Stopped):
            sys.exit(2)
        prefix = f'[rank {os.environ.get("RANK") or os.environ.get("SLURM_PROCID")}] '
    print(f'{prefix}error: {text}', file=sys.stderr)
    sys.exit(2)


def _tell_end(text: str, status: int) -> NoReturn:
    if is_speaker():
        print(f'\n{text}', file=sys.stderr)
    sys.exit(status)


def _call(main: Callable[[], None]) -> None:
    """Run ``main``; an interruption that a library turned into an error of its own is one again."""
    try:
        main()
    except Exception as error:
        cause: BaseException | None = error
        while cause is not None:
            if isinstance(cause, (KeyboardInterrupt, _Stopped)):
                raise cause from None
            cause = cause.__cause__ or cause.__context__
        raise


class _Stopped(BaseException):
    """Raised when a signal ends the process, so that temporary files are removed as after Ctrl-C."""

    def __init__(self, number: int) -> None:
        super().__init__(f'Ended by {signal.Signals(number).name}')
        self.number = number


def _finish_in_order() -> None:
    """Ignore a first signal that arrives when all work is done; a second one ends the process.

    In what libraries do at the exit of a process an exception would be a traceback.
    """
    if threading.current_thread() is not threading.main_thread():
        return
    for name in ('SIGINT', 'SIGTERM', 'SIGHUP'):
        number = getattr(signal, name, None)
        if number is not None and signal.getsignal(number) != signal.SIG_IGN:
            signal.signal(number, _hear_once)


def _hear_once(number: int, frame: object) -> None:
    signal.signal(number, signal.SIG_DFL)


def _hear_interrupts() -> None:
    """Make Ctrl-C raise ``KeyboardInterrupt``, after imports during which it ended the process silently."""
    if threading.current_thread() is threading.main_thread() and signal.getsignal(signal.SIGINT) == signal.SIG_DFL:
        signal.signal(signal.SIGINT, signal.default_int_handler)


def _stop_at_signals() -> None:
    """Make SIGTERM (a time limit of a cluster) and SIGHUP (a closed terminal) end a tool after it has cleaned up."""
    if threading.current_thread() is not threading.main_thread():
        return
    owner = os.getpid()

    def stop(number: int, frame: object) -> None:
        if os.getpid() != owner:
            # a forked process has nothing to put in order
            os._exit(128 + number)
        raise _Stopped(number)

    for name in ('SIGTERM', 'SIGHUP'):
        number = getattr(signal, name, None)
        # nohup and the like have it ignored
        if number is not None and signal.getsignal(number) == signal.SIG_DFL:
            signal.signal(number, stop)
