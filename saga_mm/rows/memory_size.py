"""Read sizes of memory as users write them."""

from __future__ import annotations

import re

from saga_mm.errors import ArgumentError

UNITS = {'': 1, 'k': 2**10, 'm': 2**20, 'g': 2**30, 't': 2**40}
# bytes below which a number without a unit is no size that anybody means; and numbers up to which GB are meant
LEAST, MOST_GB = 2**20, 256


def memory_size(size: str | int | None) -> int | None:
    """Bytes in a size such as ``4GB``, ``512M`` or ``1.5 GiB``, in units of powers of 1024; numbers are bytes.

    Raises:
        SagaError: It is no size, or so few bytes that a unit was forgotten.
    """
    if size is None:
        return None
    match = re.fullmatch(r'\s*(\d+(?:\.\d+)?)\s*([kmgt]?)(i?b)?\s*', str(size).lower())
    if match is None or float(match[1]) == 0:
        raise ArgumentError('max_memory', size, 'is no size; write for example 4GB or 800MB')
    if not match[2] and float(match[1]) < LEAST:
        meant = 'GB' if float(match[1]) <= MOST_GB else 'MB'
        problem = f'is {match[1]} bytes, since it has no unit; did you mean {match[1]}{meant}?'
        raise ArgumentError('max_memory', size, problem)
    return int(float(match[1]) * UNITS[match[2]])
