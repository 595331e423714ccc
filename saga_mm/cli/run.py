"""How every tool starts and ends: read a config, run, and tell the user what went wrong in one line."""

from __future__ import annotations

import io
import os
import sys
from collections.abc import Callable
from typing import TYPE_CHECKING

from saga_mm.errors import SagaError, shell_text
from saga_mm.files import FULL, write_error

if TYPE_CHECKING:
    pass


def run_tool(main: Callable[[], None], interrupted: str = 'Interrupted.') -> None:
    """Run a tool's ``main`` and exit with its status.

    A :class:`SagaError` is printed without a traceback and ends the process with status 2; Ctrl-C prints
    ``interrupted`` and ends it with 130. Anything else is a bug of ours or of the stack, and keeps its traceback.

    Args:
        main: The tool, called without arguments.
        interrupted: What to say after Ctrl-C, for example how to resume.
    """
    for stream in (sys.stdout, sys.stderr):
        # names of files and classes may have letters that the encoding of a terminal lacks
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors='backslashreplace')
    rank = os.environ.get('RANK', '0')
    prefix = '' if rank == '0' else f'[rank {rank}] '
    try:
        main()
    except SagaError as error:
        sys.stdout.flush()
        print(f'{prefix}error: {shell_text(error)}', file=sys.stderr)
        sys.exit(2)
    except OSError as error:
        if error.errno not in FULL:
            raise
        sys.stdout.flush()
        # without a name it is what the tool prints
        reason = write_error(error.filename, error) if error.filename else f'the output: {error.strerror}'
        print(f'{prefix}error: {reason}', file=sys.stderr)
        sys.exit(2)
    except KeyboardInterrupt:
        print(f'\n{prefix}{interrupted}', file=sys.stderr)
        sys.exit(130)
    except BrokenPipeError:
        # the reader of our output is gone (`| head`); without this, Python complains once more at exit
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(141)
