"""Exceptions whose messages are for users."""

from collections.abc import Iterable
from difflib import get_close_matches


class SagaError(Exception):
    """Something in the user's input is wrong. The message names the file or key and says what to do.

    Tools print the message alone, without a traceback, and exit with status 2.
    """


class SharedError(SagaError):
    """An error that all processes of a run have found together, so that one of them reports it for all.

    Args:
        message: The message.
        tells: Whether this process reports it; None for the first of the run.
    """

    def __init__(self, message: str, tells: bool | None = None) -> None:
        super().__init__(message)
        self.tells = tells


class ArgumentError(SagaError):
    """A value is wrong that functions take as an argument and tools as an option of the same name.

    The message names the argument as Python writes it; :func:`shell_text` names the option.

    Args:
        name: The argument, such as ``'max_memory'``.
        value: What was given.
        problem: What is wrong with it.
    """

    def __init__(self, name: str, value: object, problem: str) -> None:
        super().__init__(name, value, problem)
        self.name, self.value, self.problem = name, value, problem

    def __str__(self) -> str:
        return f'{self.name}={self.value}: {self.problem}'


def shell_text(error: BaseException) -> str:
    """The message of an error for the command line: options instead of arguments of Python."""
    if isinstance(error, ArgumentError):
        return f'--{error.name.replace("_", "-")} {error.value}: {error.problem}'
    return str(error)


def nearest(word: str, known: Iterable[str], text: str = 'did you mean {}? ') -> str:
    """A suggestion, if there is something like ``word``; else nothing."""
    close = get_close_matches(word, list(known), n=1, cutoff=0.6)
    return text.format(close[0]) if close else ''
